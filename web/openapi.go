package web

import (
	"encoding"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/api"
	"berth/internal/httpserver"
	"berth/internal/version"
)

// openAPIPath is where the API describes itself.
const openAPIPath = "/api/v1/openapi.json"

// object is a JSON object of the description.
type object map[string]any

// accessNames says in the description who may ask an operation.
var accessNames = map[access]string{mayRead: "read", mayWrite: "write", mayManage: "manage", mayOperate: "operate"}

// routeOf returns the path of an operation's route.
func routeOf(o *api.Operation) string {
	if o.House {
		return housePrefix + o.Path
	}
	return apiPrefix + o.Path
}

// describe returns the API's description (OpenAPI 3.1), made of the table of routes and that of operations, and the routes
// of the API that are no operation: a test knows of none.
func describe(routes []route) (text []byte, missing []string, err error) {
	d := &description{schemas: object{}}
	paths := object{}
	operations := api.Operations()
	for _, rt := range routes {
		if !rt.isAPI() || rt.path == openAPIPath {
			continue
		}
		i := slices.IndexFunc(operations, func(o api.Operation) bool { return o.Method == rt.method && routeOf(&o) == rt.path })
		if i < 0 {
			missing = append(missing, rt.method+" "+rt.path)
			continue
		}
		path := openPath(rt.path)
		item, _ := paths[path].(object)
		if item == nil {
			item = object{}
			paths[path] = item
		}
		item[strings.ToLower(rt.method)] = d.operation(rt, &operations[i])
	}
	d.schema(reflect.TypeFor[httpserver.ProblemBody]())
	text, err = json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Berth", "version": version.Version,
			"description": "Times in requests are RFC 3339, epoch milliseconds, now, or now-6h. Errors are problems of RFC 9457. How often may be asked is said by RateLimit-Policy and RateLimit; 429 carries Retry-After.",
		},
		"security": []object{{"token": []string{}}},
		"paths":    paths,
		"components": object{
			"schemas":         d.schemas,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer", "description": "An API token; its scope is read, write or manage, each with all that is before it, or, of the operators, operate, which opens all."}},
		},
	}, "", " ")
	if err != nil {
		return nil, nil, fmt.Errorf("write the API's description: %w", err)
	}
	return text, missing, nil
}

// openPath writes a path's parameters as OpenAPI does.
func openPath(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if name, ok := strings.CutPrefix(p, ":"); ok {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}

// description collects the schemas that operations refer to.
type description struct{ schemas object }

func (d *description) operation(rt route, o *api.Operation) object {
	var parameters []object
	for part := range strings.SplitSeq(rt.path, "/") {
		if name, ok := strings.CutPrefix(part, ":"); ok {
			parameters = append(parameters, object{"name": name, "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	for _, name := range o.Query {
		i := slices.IndexFunc(api.Parameters, func(p api.Parameter) bool { return p.Name == name })
		p, kind := api.Parameters[i], object{"type": "string"}
		if p.Number {
			kind = object{"type": "integer", "minimum": 1}
		}
		if p.Repeated {
			kind = object{"type": "array", "items": kind}
		}
		parameters = append(parameters, object{"name": name, "in": "query", "description": p.About, "schema": kind})
	}
	kind, answer := "application/json", object{}
	if o.Answer != nil {
		answer = d.schema(reflect.TypeOf(o.Answer))
	} else {
		kind = o.Type
	}
	responses := object{"200": object{"description": "The answer", "content": object{kind: object{"schema": answer}}}}
	for _, status := range statusesOf(rt, o) {
		responses[strconv.Itoa(status)] = object{
			"description": http.StatusText(status), "content": object{httpserver.ProblemType: object{"schema": reference("ProblemBody")}},
		}
	}
	out := object{"summary": o.Summary, "description": "Scope: " + accessNames[rt.access] + ".", "parameters": parameters, "responses": responses}
	if o.Body != nil {
		out["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": d.schema(reflect.TypeOf(o.Body))}}}
	}
	return out
}

func reference(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// schema returns the schema of a type, as encoding/json writes it.
func (d *description) schema(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t.Kind() == reflect.Pointer:
		return object{"anyOf": []object{d.schema(t.Elem()), {"type": "null"}}}
	case t.Implements(reflect.TypeFor[json.Marshaler]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]()):
		return object{} // a value of a reading: a number, a text, true or false, or null
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Struct:
		return d.structure(t)
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Interface:
		return object{}
	default:
		return object{"type": "integer"}
	}
}

// structure returns a reference to the schema of a struct, which is made once.
func (d *description) structure(t reflect.Type) object {
	if _, known := d.schemas[t.Name()]; known {
		return reference(t.Name())
	}
	properties := object{}
	made := object{"type": "object", "properties": properties}
	d.schemas[t.Name()] = made
	required := d.fields(t, properties)
	if slices.Sort(required); len(required) > 0 {
		made["required"] = required
	}
	return reference(t.Name())
}

// fields adds a struct's fields, those of embedded structs too, and returns the names of those that are always there.
func (d *description) fields(t reflect.Type, properties object) (required []string) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			required = append(required, d.fields(f.Type, properties)...)
			continue
		case !f.IsExported() || name == "-":
			continue
		case name == "":
			name = f.Name
		}
		if properties[name] = d.schema(f.Type); !strings.Contains(options, "omit") {
			required = append(required, name)
		}
	}
	return required
}

// openAPI answers with the API's description.
func (w *Web) openAPI(rw http.ResponseWriter, _ *http.Request) error {
	h := rw.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "max-age="+maxAge(time.Hour))
	_, err := rw.Write(w.described)
	return err
}

// referenceData is the page that shows the API's description.
type referenceData struct {
	frame
	Operations []operationRow
	Path       string // of the description
}

type operationRow struct {
	Method, Path, Summary, Scope string
	Query                        []api.Parameter
	Body                         bool
}

func (w *Web) referencePage(rw http.ResponseWriter, r *http.Request) error {
	d := &referenceData{Path: openAPIPath}
	operations := api.Operations()
	for _, rt := range w.routes() {
		for i := range operations {
			o := &operations[i]
			if o.Method != rt.method || routeOf(o) != rt.path {
				continue
			}
			row := operationRow{Method: o.Method, Path: openPath(rt.path), Summary: o.Summary, Scope: accessNames[rt.access], Body: o.Body != nil}
			for _, p := range api.Parameters {
				if slices.Contains(o.Query, p.Name) {
					row.Query = append(row.Query, p)
				}
			}
			d.Operations = append(d.Operations, row)
		}
	}
	return w.show(rw, r, http.StatusOK, "reference", "reference.title", d)
}

// statusesOf returns the statuses with which a route may be answered instead of 200.
func statusesOf(rt route, o *api.Operation) []int {
	statuses := []int{
		http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable,
	}
	if len(o.Query) > 0 || o.Body != nil || rt.does != "" {
		statuses = append(statuses, http.StatusBadRequest)
	}
	if rt.does != "" || rt.access == mayOperate { // what would be done may be what cannot be
		statuses = append(statuses, http.StatusConflict)
	}
	if rt.does != "" {
		statuses = append(statuses, http.StatusRequestEntityTooLarge)
	}
	return statuses
}
