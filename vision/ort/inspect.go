//go:build cgo

package ort

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	onnx "github.com/yalue/onnxruntime_go"
)

// maxMetadata bounds what an exporter may have written beside the model.
const maxMetadata = 256

// Inspect reads a model file and returns what it says of itself, without
// running it. Errors wrap ErrBadModel where the file is to blame.
func (r *Runtime) Inspect(path string) (Model, error) {
	m, err := r.inspect(path)
	if err != nil {
		return Model{}, fmt.Errorf("inspect model %s: %w", path, err)
	}
	return m, nil
}

func (r *Runtime) inspect(path string) (Model, error) {
	data, err := read(Config{Path: path})
	if err != nil {
		return Model{}, err
	}
	if err := r.hold(); err != nil {
		return Model{}, err
	}
	defer r.release()
	ins, outs, err := onnx.GetInputOutputInfoWithONNXData(data)
	if err != nil {
		return Model{}, fmt.Errorf("%w: %w", ErrBadModel, err)
	}
	sum := sha256.Sum256(data)
	m := Model{
		Inputs: infos(ins), Outputs: infos(outs), Metadata: make(map[string]string),
		SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(data)),
	}
	meta, err := onnx.GetModelMetadataWithONNXData(data)
	if err != nil {
		return Model{}, fmt.Errorf("%w: %w", ErrBadModel, err)
	}
	defer func() { _ = meta.Destroy() }()
	keys, err := meta.GetCustomMetadataMapKeys()
	if err != nil {
		return Model{}, fmt.Errorf("%w: %w", ErrBadModel, err)
	}
	for _, k := range keys[:min(len(keys), maxMetadata)] {
		if v, ok, err := meta.LookupCustomMetadataMap(k); err == nil && ok {
			m.Metadata[k] = v
		}
	}
	return m, nil
}
