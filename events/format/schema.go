package format

import (
	"embed"
	"io/fs"
)

//go:embed schema/*.json
var static embed.FS

// Schemas holds the published contracts: event.json, heartbeat.json,
// cloudevent.json, standard.json and ngsi-alert.json are JSON Schemas (2020-12)
// that refer to each other by these names, asyncapi.json is AsyncAPI 3.
func Schemas() fs.FS {
	sub, err := fs.Sub(static, "schema")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return sub
}
