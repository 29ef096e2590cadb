package wire

import (
	"cmp"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/xacam/xacam/events"
)

// partName finds what a still shows, at the end of its file's name.
var partName = regexp.MustCompile(`-(approach|act|detail|plate|before|after)$`)

// Names returns the names of the files of an event in its package and in the
// API, parallel to refs: "snapshot.jpg", "still-approach.jpg", "clip.mp4". They
// are small letters, digits, "." and "-", and all different. The names of files
// do not change when others are added after them.
func Names(refs []events.EvidenceRef) []string {
	out := make([]string, len(refs))
	taken := make(map[string]bool, len(refs))
	for i, ref := range refs {
		ext := path.Ext(ref.Path)
		stem := cmp.Or(safe(ref.Type), "file")
		if m := partName.FindStringSubmatch(strings.TrimSuffix(path.Base(ref.Path), ext)); m != nil && stem != m[1] {
			stem += "-" + m[1]
		}
		ext = strings.TrimSuffix("."+safe(ext), ".")
		name := stem + ext
		for n := 2; taken[name]; n++ {
			name = stem + "-" + strconv.Itoa(n) + ext
		}
		taken[name] = true
		out[i] = name
	}
	return out
}

// safe keeps small letters and digits.
func safe(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return -1
	}, s)
	if len(s) > 32 {
		s = s[:32]
	}
	return s
}
