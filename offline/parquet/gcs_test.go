package parquet

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// gcs is as much of Cloud Storage's JSON API as its client uses for a bucket: one-shot and resumable uploads, with the condition that
// a name is free, listings in pages, reads by range (which come by the XML API), copies by rewriting, and deletions.
type gcs struct {
	mu sync.Mutex
	// objects by name, and uploads under way by id.
	objects map[string]*gcsObject
	uploads map[string]*gcsUpload
	seen    map[string]int // how often each kind of request came
	last    int64          // generation of an object, or number of an upload
}

type gcsObject struct {
	content    []byte
	generation int64
	made       time.Time
}

type gcsUpload struct {
	name    string
	free    bool // the name has to be free
	content []byte
}

// gcsPage is how many objects a page of a listing has; the client asks for more.
const gcsPage = 5

func newGCS() *gcs {
	return &gcs{objects: map[string]*gcsObject{}, uploads: map[string]*gcsUpload{}, seen: map[string]int{}}
}

// ServeHTTP answers for the bucket lake.
func (g *gcs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	path, q := r.URL.EscapedPath(), r.URL.Query()
	const objects = "/storage/v1/b/lake/o"
	name, isObject := strings.CutPrefix(path, objects+"/")
	switch {
	case strings.HasPrefix(path, "/upload"+objects):
		g.upload(w, r, q)
	case isObject && strings.Contains(name, "/rewriteTo/b/lake/o/"):
		from, to, _ := strings.Cut(name, "/rewriteTo/b/lake/o/")
		g.rewrite(w, unescaped(from), unescaped(to))
	case path == objects && r.Method == http.MethodGet:
		g.list(w, q)
	case isObject && r.Method == http.MethodGet:
		g.attributes(w, unescaped(name))
	case isObject && r.Method == http.MethodDelete:
		g.remove(w, unescaped(name))
	case strings.HasPrefix(path, "/lake/") && r.Method == http.MethodGet:
		g.read(w, r, unescaped(strings.TrimPrefix(path, "/lake/")))
	default:
		g.refuse(w, http.StatusNotImplemented, r.Method+" "+r.URL.String())
	}
}

func unescaped(name string) string {
	out, err := url.PathUnescape(name)
	if err != nil {
		return name
	}
	return out
}

func (g *gcs) refuse(w http.ResponseWriter, code int, why string) {
	g.seen[strconv.Itoa(code)]++
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"error":{"code":%d,"message":%q}}`, code, why)
}

// upload takes an object: all at once, or in pieces under the id of a session.
func (g *gcs) upload(w http.ResponseWriter, r *http.Request, q url.Values) {
	if id := q.Get("upload_id"); id != "" {
		g.piece(w, r, id)
		return
	}
	u := &gcsUpload{name: q.Get("name"), free: q.Get("ifGenerationMatch") == "0"}
	if q.Get("uploadType") == "resumable" {
		g.seen["resumable"]++
		g.last++
		id := fmt.Sprint("upload", g.last)
		g.uploads[id] = u
		w.Header().Set("Location", "http://"+r.Host+r.URL.Path+"?uploadType=resumable&upload_id="+id)
		return
	}
	g.seen["multipart"]++
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		g.refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	parts := multipart.NewReader(r.Body, params["boundary"])
	for range 2 { // the attributes, then the content
		part, err := parts.NextPart()
		if err == nil {
			u.content, err = io.ReadAll(part)
		}
		if err != nil {
			g.refuse(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	g.put(w, u)
}

// piece takes bytes of an upload; the last one tells the size of all.
func (g *gcs) piece(w http.ResponseWriter, r *http.Request, id string) {
	u := g.uploads[id]
	content, err := io.ReadAll(r.Body)
	if u == nil || err != nil {
		g.refuse(w, http.StatusGone, "no such upload")
		return
	}
	u.content = append(u.content, content...)
	if _, size, _ := strings.Cut(r.Header.Get("Content-Range"), "/"); size == "*" {
		w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", len(u.content)-1))
		w.Header().Set("X-Http-Status-Code-Override", "308")
		w.WriteHeader(http.StatusOK)
		return
	}
	delete(g.uploads, id)
	g.put(w, u)
}

func (g *gcs) put(w http.ResponseWriter, u *gcsUpload) {
	if _, taken := g.objects[u.name]; taken && u.free {
		g.refuse(w, http.StatusPreconditionFailed, "At least one of the pre-conditions you specified did not hold.")
		return
	}
	g.last++
	g.objects[u.name] = &gcsObject{u.content, g.last, time.Now()}
	g.answer(w, g.resource(u.name))
}

func (g *gcs) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // to a client that has gone
}

func (o *gcsObject) crc() string {
	sum := crc32.Checksum(o.content, crc32.MakeTable(crc32.Castagnoli))
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

func (g *gcs) resource(name string) map[string]any {
	o := g.objects[name]
	at := o.made.UTC().Format(time.RFC3339Nano)
	return map[string]any{
		"kind": "storage#object", "bucket": "lake", "name": name, "size": strconv.Itoa(len(o.content)), "generation": strconv.FormatInt(o.generation, 10),
		"metageneration": "1", "updated": at, "timeCreated": at, "crc32c": o.crc(), "etag": fmt.Sprint("e", o.generation), "contentType": "application/octet-stream",
	}
}

func (g *gcs) list(w http.ResponseWriter, q url.Values) {
	g.seen["list"]++
	items, next := []any{}, ""
	for _, name := range slices.Sorted(maps.Keys(g.objects)) {
		if !strings.HasPrefix(name, q.Get("prefix")) || name <= q.Get("pageToken") {
			continue
		}
		if len(items) == gcsPage {
			next = items[gcsPage-1].(map[string]any)["name"].(string)
			g.seen["next page"]++
			break
		}
		items = append(items, g.resource(name))
	}
	g.answer(w, map[string]any{"kind": "storage#objects", "items": items, "nextPageToken": next})
}

func (g *gcs) attributes(w http.ResponseWriter, name string) {
	g.seen["attributes"]++
	if g.objects[name] == nil {
		g.refuse(w, http.StatusNotFound, "No such object: lake/"+name)
		return
	}
	g.answer(w, g.resource(name))
}

func (g *gcs) read(w http.ResponseWriter, r *http.Request, name string) {
	o := g.objects[name]
	if o == nil {
		g.refuse(w, http.StatusNotFound, "No such object: lake/"+name)
		return
	}
	if r.Header.Get("Range") != "" {
		g.seen["range"]++
	}
	w.Header().Set("X-Goog-Generation", strconv.FormatInt(o.generation, 10))
	w.Header().Set("X-Goog-Hash", "crc32c="+o.crc())
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", o.made, bytes.NewReader(o.content))
}

func (g *gcs) rewrite(w http.ResponseWriter, from, to string) {
	g.seen["rewrite"]++
	o := g.objects[from]
	if o == nil {
		g.refuse(w, http.StatusNotFound, "No such object: lake/"+from)
		return
	}
	g.last++
	g.objects[to] = &gcsObject{o.content, g.last, time.Now()}
	size := strconv.Itoa(len(o.content))
	g.answer(w, map[string]any{"kind": "storage#rewriteResponse", "done": true, "objectSize": size, "totalBytesRewritten": size, "resource": g.resource(to)})
}

func (g *gcs) remove(w http.ResponseWriter, name string) {
	g.seen["delete"]++
	if g.objects[name] == nil {
		g.refuse(w, http.StatusNotFound, "No such object: lake/"+name)
		return
	}
	delete(g.objects, name)
	w.WriteHeader(http.StatusNoContent)
}
