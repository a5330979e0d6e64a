package query

import "slices"

// Field names a field without its key: a query's header.x-tenant is
// FieldHeader with the Key "x-tenant".
type Field string

// The fields. "Absent when" says when a pair has no value for a field; where
// nothing is said an empty text is absent. Text fields compare whole values.
const (
	// UUID in lower case with hyphens.
	FieldID        Field = "id"
	FieldApp       Field = "app"
	FieldPod       Field = "pod"
	FieldNamespace Field = "namespace"
	FieldCluster   Field = "cluster"
	// "inbound" or "outbound".
	FieldDirection Field = "direction"
	FieldProtocol  Field = "protocol"
	FieldMethod    Field = "method"
	FieldPath      Field = "path"
	// The path's template. It is not part of a pair: see WithEndpoint.
	FieldEndpoint Field = "endpoint"
	// As sent, so possibly with a port. The parser turns host:a into the two
	// values "a" and "a:*".
	FieldHost Field = "host"
	// The query string without "?".
	FieldQuery Field = "query"
	// Absent when 0. An absent status is in no range.
	FieldStatus Field = "status"
	FieldError  Field = "error"
	// Nanoseconds: see Duration and TTFB, which also say when it is absent.
	// An absent one is in no range.
	FieldDuration Field = "duration"
	FieldTTFB     Field = "ttfb"
	// Message.body_size. Always a number; OpExists holds when it is not 0.
	FieldRequestSize  Field = "size.request"
	FieldResponseSize Field = "size.response"
	// "ip:port". The parser turns client:10.0.0.7 into the value
	// "10.0.0.7:*", so that the values here always compare whole.
	FieldClient Field = "client"
	FieldServer Field = "server"
	// Fields of the header block and the trailers, of both messages or one.
	// An empty header is there and empty; absent is one that was not sent.
	FieldHeader         Field = "header"
	FieldRequestHeader  Field = "request.header"
	FieldResponseHeader Field = "response.header"
	// The content, with its content coding undone where that is possible.
	FieldBody         Field = "body"
	FieldRequestBody  Field = "request.body"
	FieldResponseBody Field = "response.body"
	// Values at a path in JSON bodies, request or response. Present is also
	// null; objects and arrays only exist, they equal nothing.
	FieldJSON Field = "json"
	// RRPair.tags. An empty tag is there and empty.
	FieldTag  Field = "tag"
	FieldFlag Field = "flag"
	// Always numbers, counted from 0; OpExists always holds.
	FieldConn Field = "conn"
	FieldSeq  Field = "seq"
)

// Type says which values a field takes.
type Type string

const (
	// TypeText: OpExists, OpEqual, OpWildcard, OpRegex on the whole value.
	TypeText Type = "text"
	// TypeEnum: as TypeText; OpEqual only with one of Info.Values.
	TypeEnum Type = "enum"
	// TypeWords: OpExists, OpWord, OpPhrase, OpRegex.
	TypeWords Type = "words"
	// TypeAny: as TypeText, and OpDecimal.
	TypeAny Type = "any"
	// The rest are numbers: OpExists and OpRange.
	TypeNumber   Type = "number"
	TypeStatus   Type = "status"
	TypeDuration Type = "duration"
	TypeSize     Type = "size"
)

// Info describes one field, for completion, documents and compilers.
type Info struct {
	Name Field
	Type Type
	// Placeholder is what to write for the key, as "name" in header.<name>;
	// empty when the field has no key.
	Placeholder string
	// Fold: OpEqual and OpWildcard do not regard the case of ASCII letters.
	Fold bool
	// Values are all values of a TypeEnum.
	Values      []string
	Description string
	// Example is a whole term that parses.
	Example string
}

// Keyed reports whether the field is written with a key after a dot.
func (i Info) Keyed() bool { return i.Placeholder != "" }

// Label is the field as people write it: "status", "header.<name>".
func (i Info) Label() string {
	if !i.Keyed() {
		return string(i.Name)
	}
	return string(i.Name) + ".<" + i.Placeholder + ">"
}

// Fields lists all fields in the order in which they are shown. The caller
// owns the slice; the entries share what they point to.
func Fields() []Info { return slices.Clone(fields[:]) }

// Lookup finds the description of a field.
func Lookup(f Field) (Info, bool) {
	for _, i := range fields {
		if i.Name == f {
			return i, true
		}
	}
	return Info{}, false
}

var fields = [...]Info{
	{Name: FieldMethod, Type: TypeText, Fold: true, Description: "Request method, or the command of another protocol", Example: "method:(GET POST)"},
	{Name: FieldPath, Type: TypeText, Description: "Path of the request, without the query string", Example: "path:/api/*"},
	{Name: FieldStatus, Type: TypeStatus, Description: "Status code of the response, or a class of codes", Example: "status:5xx"},
	{Name: FieldHost, Type: TypeText, Fold: true, Description: "Host that the request named; without a port, any port", Example: "host:shop.example.com"},
	{Name: FieldApp, Type: TypeText, Description: "Application whose proxy captured the pair", Example: "app:checkout"},
	{Name: FieldDuration, Type: TypeDuration, Description: "Time from the request's first byte to the response's last", Example: "duration:>200ms"},
	{Name: FieldTTFB, Type: TypeDuration, Description: "Time from the request's first byte to the response's first", Example: "ttfb:50ms..1s"},
	{Name: FieldBody, Type: TypeWords, Description: "Body of the request or the response, decompressed", Example: `body:"card declined"`},
	{Name: FieldRequestBody, Type: TypeWords, Description: "Body of the request, decompressed", Example: "request.body:sku*"},
	{Name: FieldResponseBody, Type: TypeWords, Description: "Body of the response, decompressed", Example: "response.body:/time[d ]*out/"},
	{Name: FieldHeader, Type: TypeAny, Placeholder: "name", Fold: true, Description: "Header or trailer of the request or the response", Example: "header.x-tenant:acme"},
	{Name: FieldRequestHeader, Type: TypeAny, Placeholder: "name", Fold: true, Description: "Header or trailer of the request", Example: "request.header.user-agent:curl/*"},
	{Name: FieldResponseHeader, Type: TypeAny, Placeholder: "name", Fold: true, Description: "Header or trailer of the response", Example: "response.header.content-type:*json*"},
	{Name: FieldJSON, Type: TypeAny, Placeholder: "path", Description: "Value in a JSON body, request or response", Example: "json.items[*].price:>100"},
	{Name: FieldQuery, Type: TypeWords, Description: "Query string of the request", Example: "query:debug=1"},
	{Name: FieldEndpoint, Type: TypeText, Description: "Template of the path", Example: "endpoint:/users/{id}"},
	{Name: FieldProtocol, Type: TypeText, Fold: true, Description: "Protocol of the connection", Example: "protocol:http"},
	{Name: FieldDirection, Type: TypeEnum, Fold: true, Values: []string{"inbound", "outbound"}, Description: "Traffic into or out of the captured workload", Example: "direction:inbound"},
	{Name: FieldError, Type: TypeWords, Description: "Why there is no whole response", Example: `error:"connection refused"`},
	{Name: FieldFlag, Type: TypeEnum, Fold: true, Values: flagNames, Description: "What is not whole, or not as it was on the wire", Example: "flag:truncated"},
	{Name: FieldRequestSize, Type: TypeSize, Description: "Length of the request's body", Example: "size.request:>64KiB"},
	{Name: FieldResponseSize, Type: TypeSize, Description: "Length of the response's body", Example: "size.response:>=1.5MB"},
	{Name: FieldNamespace, Type: TypeText, Description: "Namespace of the application", Example: "namespace:shop"},
	{Name: FieldPod, Type: TypeText, Description: "Instance of the application", Example: "pod:checkout-*"},
	{Name: FieldCluster, Type: TypeText, Description: "Cluster of the forwarder", Example: "cluster:production"},
	{Name: FieldClient, Type: TypeText, Fold: true, Description: "Address that opened the connection; without a port, any port", Example: "client:10.0.0.7"},
	{Name: FieldServer, Type: TypeText, Fold: true, Description: "Address that the proxy dialled; without a port, any port", Example: "server:*:8080"},
	{Name: FieldTag, Type: TypeAny, Placeholder: "name", Description: "Fact that only some protocols have", Example: "tag.tls.sni:*.example.com"},
	{Name: FieldConn, Type: TypeNumber, Description: "Number of the connection, from 0, within the proxy's run", Example: "conn:17"},
	{Name: FieldSeq, Type: TypeNumber, Description: "Place of the pair on its connection, from 0", Example: "seq:0"},
	{Name: FieldID, Type: TypeText, Fold: true, Description: "Id of one pair", Example: "id:01997b2c-6d3f-7c44-9d6e-2f6a31c0b8aa"},
}

// flagNames are the flags of capturev1 as people write them, in the order of
// their numbers from 1.
var flagNames = []string{
	"truncated", "body_shed", "incomplete", "no_response", "midstream",
	"gap", "framing_ambiguous", "redacted", "withheld",
}
