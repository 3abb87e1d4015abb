package clickhouse

import (
	"strconv"
	"strings"
)

// identifier quotes a name of a database, table or column.
func identifier(name string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name) + "`"
}

func identifiers(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = identifier(n)
	}
	return strings.Join(quoted, ", ")
}

// literal quotes a string. It serves comments and engine arguments of DDL, where parameters are not taken; elsewhere values
// are parameters.
func literal(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`).Replace(s) + "'"
}

// param is a value for {name:Type} in a statement, in the text form that ClickHouse reads.
type param struct{ name, text string }

// stringParam escapes as a tab-separated field is.
func stringParam(name, value string) param {
	return param{name, strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`).Replace(value)}
}

func intParam(name string, value int64) param { return param{name, strconv.FormatInt(value, 10)} }

func intsParam[T int32 | int64](name string, values []T) param {
	b := []byte("[")
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(v), 10)
	}
	return param{name, string(append(b, ']'))}
}

func stringsParam(name string, values []string) param {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = literal(v)
	}
	return param{name, "[" + strings.Join(quoted, ",") + "]"}
}
