package models

import (
	_ "embed"
	"fmt"
)

//go:embed helmet/helmet.yaml
var helmetManifest []byte

//go:embed helmet/helmet.onnx
var helmetFile []byte

// Helmet returns our own model that tells heads with a helmet from heads
// without, and its file's content: it is a part of the program and needs no
// download. helmet.md is its card. Nobody may modify the content.
func Helmet() (Manifest, []byte, error) {
	m, err := Parse(helmetManifest)
	if err != nil {
		return Manifest{}, nil, fmt.Errorf("built-in helmet model: %w", err)
	}
	return m, helmetFile, nil
}
