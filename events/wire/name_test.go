package wire_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/wire"
)

func TestNames(t *testing.T) {
	t.Parallel()
	refs := []events.EvidenceRef{
		{Type: "snapshot", Path: "2026/11/23/gate-1732371245120.jpg"},
		{Type: "annotated", Path: "2026/11/23/gate-1732371245120-annotated.jpg"},
		{Type: "still", Path: "2026/11/23/gate-1-approach.jpg"},
		{Type: "still", Path: "2026/11/23/gate-1-act.jpg"},
		{Type: "still", Path: "2026/11/23/gate-2-act.jpg"},
		{Type: "still", Path: "2026/11/23/gate-3.jpg"},
		{Type: "clip", Path: "2026/11/23/gate-1.mp4"},
		{Type: "../Odd Type", Path: "x/../y/.hid\u00e9n"},
		{Type: "", Path: "noext"},
		{Type: "manifest", Path: "2026/11/23/id.manifest.json"},
		{Type: "signature", Path: "2026/11/23/id.manifest.sig"},
	}
	want := []string{
		"snapshot.jpg", "annotated.jpg", "still-approach.jpg", "still-act.jpg", "still-act-2.jpg", "still.jpg", "clip.mp4",
		"oddtype.hidn", "file", "manifest.json", "signature.sig",
	}
	assert.Equal(t, want, wire.Names(refs))
	for i := range refs {
		assert.Equal(t, want[:i], wire.Names(refs[:i]), "names stay when others are added")
	}
}
