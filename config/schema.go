package config

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/freshet-io/freshet/internal/feature"
)

// Schema returns the JSON Schema of definition files, for editors and for checks without Freshet. It is made from the
// structs of spec.go; references and expressions are beyond it.
func Schema() ([]byte, error) {
	root := structSchema(reflect.TypeFor[planeSpec]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Freshet plane"
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

func structSchema(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range fieldsOf(t) {
		properties[f.name] = fieldSchema(f)
		if f.required && t != reflect.TypeFor[planeSpec]() { // a plane may be spread over files
			required = append(required, f.name)
		}
	}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func fieldSchema(f field) map[string]any {
	s := typeSchema(f.typ)
	s["description"] = f.doc
	switch {
	case f.enum != nil:
		s["enum"] = f.enum
	case f.name == "aggregate":
		s["enum"] = feature.Aggregations()
	}
	return s
}

func typeSchema(t reflect.Type) map[string]any {
	if s, ok := reflect.New(t).Interface().(scalar); ok {
		return s.jsonSchema()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return structSchema(t.Elem())
	case reflect.Slice:
		return map[string]any{"type": "array", "items": typeSchema(t.Elem())}
	}
	return structSchema(t)
}

func (a *At[T]) jsonSchema() map[string]any {
	switch any(a.V).(type) {
	case bool:
		return map[string]any{"type": "boolean"}
	case int:
		return map[string]any{"type": "integer"}
	case float64:
		return map[string]any{"type": "number"}
	case time.Duration:
		return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d|w))+$`}
	case byteSize:
		return map[string]any{"type": []string{"integer", "string"}, "pattern": `^[0-9_]+ ?([KMG]i?B|B)?$`}
	case rate:
		return map[string]any{"type": "string", "pattern": `^[0-9.]+ ?/ ?[0-9]`}
	case source:
		return map[string]any{"type": []string{"string", "number", "boolean"}}
	}
	return map[string]any{"type": "string"}
}
