package config

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestSchemaIsCurrent(t *testing.T) {
	s, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "plane.schema.json", string(s))
}

// schemaCatches reports whether a bad file has a mistake that a JSON Schema can express: no reference, expression or secret.
func schemaCatches(name string) bool {
	for _, prefix := range []string{
		"unknown_section", "unknown_field", "missing_field", "wrong_type", "field_empty", "duration", "enum", "field_type",
		"aggregate_unknown", "join_key_float", "monitor_rate", "max_record_bytes",
	} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// TestSchemaAcceptsAndRefuses: editors with the schema agree with Load as far as a schema can.
func TestSchemaAcceptsAndRefuses(t *testing.T) {
	var schema map[string]any
	data, err := os.ReadFile("plane.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	for _, f := range testFiles(t, "testdata/good/*.yaml") {
		if err := validate(schema, yamlAsJSON(t, f), ""); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
	caught := 0
	for _, f := range testFiles(t, "testdata/bad/*.yaml") {
		name := strings.TrimSuffix(strings.TrimPrefix(f, "testdata/bad/"), ".yaml")
		if !schemaCatches(name) {
			continue
		}
		caught++
		if err := validate(schema, yamlAsJSON(t, f), ""); err == nil {
			t.Errorf("%s is accepted by the schema", f)
		}
	}
	if caught < 12 {
		t.Errorf("only %d bad files are held to the schema", caught)
	}
}

// yamlAsJSON reads a file as an editor does.
func yamlAsJSON(t *testing.T, path string) any {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := yaml.YAMLToJSON(data)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// validate checks v against the keywords that Schema uses.
func validate(schema map[string]any, v any, path string) error {
	if want, ok := schema["type"]; ok && !slices.Contains(typeNames(want), jsonType(v)) && !(jsonType(v) == "integer" && slices.Contains(typeNames(want), "number")) {
		return fmt.Errorf("%s is a %s, want %v", path, jsonType(v), want)
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fmt.Errorf("%s is %v, want one of %v", path, v, enum)
	}
	switch v := v.(type) {
	case string:
		if p, ok := schema["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
			return fmt.Errorf("%s is %q, want %s", path, v, p)
		}
	case []any:
		for i, el := range v {
			if err := validate(schema["items"].(map[string]any), el, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		properties := schema["properties"].(map[string]any)
		required, _ := schema["required"].([]any)
		for _, r := range required {
			if _, ok := v[r.(string)]; !ok {
				return fmt.Errorf("%s has no %s", path, r)
			}
		}
		for k, el := range v {
			p, ok := properties[k].(map[string]any)
			if !ok {
				return fmt.Errorf("%s has no field %s", path, k)
			}
			if err := validate(p, el, path+"."+k); err != nil {
				return err
			}
		}
	}
	return nil
}

func typeNames(t any) []string {
	if s, ok := t.(string); ok {
		return []string{s}
	}
	var out []string
	for _, s := range t.([]any) {
		out = append(out, s.(string))
	}
	return out
}

func jsonType(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

// TestEveryFieldIsDescribed: a field without a sentence about it is not finished.
func TestEveryFieldIsDescribed(t *testing.T) {
	walkFields(reflect.TypeFor[planeSpec](), "", func(section string, f field) {
		if f.doc == "" || !strings.HasSuffix(f.doc, ".") {
			t.Errorf("%s.%s has no description that is a sentence", section, f.name)
		}
	})
}

// walkFields calls fn for every field of the form, with the section it is in.
func walkFields(t reflect.Type, section string, fn func(section string, f field)) {
	for _, f := range fieldsOf(t) {
		fn(section, f)
		inner := f.typ
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if _, leaf := reflect.New(inner).Interface().(scalar); !leaf {
			walkFields(inner, strings.TrimPrefix(section+"."+f.name, "."), fn)
		}
	}
}

// TestManualMentionsEveryField holds docs/plane.md to the code: a table a section, a row a field, in its words.
func TestManualMentionsEveryField(t *testing.T) {
	data, err := os.ReadFile("../docs/plane.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := string(data)
	walkFields(reflect.TypeFor[planeSpec](), "", func(section string, f field) {
		if section == "" {
			section = "Sections"
		}
		_, after, found := strings.Cut(manual, "### "+section+"\n")
		if !found {
			t.Errorf("the manual has no section %q", section)
			return
		}
		table, _, _ := strings.Cut(after, "\n#")
		if row := manualRow(f); !strings.Contains(table, row) {
			t.Errorf("the manual's section %q lacks the row\n%s", section, row)
		}
	})
}

// manualRow is a field's line in the manual.
func manualRow(f field) string {
	need := ""
	if f.required {
		need = " Required."
	}
	values := ""
	if f.enum != nil {
		values = " One of " + strings.Join(f.enum, ", ") + "."
	}
	return fmt.Sprintf("| `%s` | %s | %s%s%s |", f.name, manualType(f.typ), f.doc, values, need)
}

func manualType(t reflect.Type) string {
	if s, ok := reflect.New(t).Interface().(scalar); ok {
		want := strings.TrimPrefix(strings.TrimPrefix(s.want(), "a "), "an ")
		kind, _, _ := strings.Cut(want, " like")
		return kind
	}
	switch t.Kind() {
	case reflect.Slice:
		if inner := manualType(t.Elem()); inner != "mapping" {
			return "list of " + inner + "s"
		}
		return "list"
	}
	return "mapping"
}
