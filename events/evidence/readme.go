package evidence

import (
	_ "embed" // README.txt
	"slices"
	"strings"
	"time"

	"github.com/xacam/xacam/events"
)

//go:embed readme.txt
var readme []byte

// maxTrack bounds, in bytes, a track that is read.
const maxTrack = 16 << 20

// veil finds out what is hidden on the copies of clips.
func (z *zipper) veil() {
	if z.p.x.cfg.Viewer == nil || z.p.request.Blur == BlurNone {
		return
	}
	z.veils = make(map[string]*veil)
	var track []byte
	m := z.p.manifest
	if i := slices.IndexFunc(m.Files, func(f File) bool { return f.Type == "track" }); i >= 0 {
		var err error
		if track, err = z.p.read(events.EvidenceRef{Path: m.Files[i].Path, SHA256: m.Files[i].SHA256}, maxTrack); err != nil {
			z.p.x.cfg.Log.WarnContext(z.ctx, "a clip is blurred as a whole: its track cannot be read", "event", z.p.event.ID, "err", err)
		}
	}
	for _, f := range m.Files {
		if f.Type == "clip" {
			z.veils[f.Path] = newVeil(m.Record, track, f.Path, z.p.request.Blur, func(last time.Time) timeline { return z.timeline(f.Path, last) })
		}
	}
}

// timeline returns the times of a clip; nil when they cannot be read.
func (z *zipper) timeline(path string, last time.Time) timeline {
	f, err := z.p.x.cfg.Store.Open(events.EvidenceRef{Path: path})
	if err != nil {
		return nil // it is left out, or says so itself
	}
	defer f.Close()
	var line timeline
	info, err := f.Stat()
	if err == nil {
		line, err = readTimeline(f, info.Size(), last)
	}
	if err != nil {
		z.p.x.cfg.Log.WarnContext(z.ctx, "a clip is blurred as a whole", "event", z.p.event.ID, "file", path, "err", err)
	}
	return line
}

// note says in export.json what is blurred as a whole; "" for nothing.
func (v *veil) note() string {
	if v == nil {
		return ""
	}
	switch v.coverage() {
	case knownNowhere:
		return "it is blurred as a whole: it was not recorded where people and vehicles are in it"
	case knownInPart:
		return "it is blurred as a whole where it was not recorded where people and vehicles are"
	case knownThroughout:
	}
	return ""
}

// readme returns README.txt, with what is special about this package.
func (z *zipper) readme() []byte {
	if z.veils == nil {
		return readme
	}
	const heading = "\n\nVỀ BẢN SAO LÀM MỜ / ABOUT THE BLURRED COPIES\n============================================\n"
	var b strings.Builder
	b.Write(readme)
	b.WriteString(heading + `Trên bản sao, máy làm mờ những người không phải đối tượng của sự kiện và biển
số xe mà máy đã nhận ra, cùng những vùng mà camera được cài đặt không theo dõi.
Máy có thể bỏ sót: hãy xem lại bản sao trước khi giao cho người khác.
`)
	if z.p.request.Blur == BlurAll {
		b.WriteString("Đầu hoặc biển số của chính đối tượng cũng được làm mờ.\n")
	}
	part, none := false, false
	for _, v := range z.veils {
		c := v.coverage()
		part, none = part || c == knownInPart, none || c == knownNowhere
	}
	if none {
		b.WriteString(`viewing/clip.mp4 được làm mờ toàn bộ hình, vì gói không ghi lại vị trí của
người và xe trong video (ví dụ: máy chủ bị khởi động lại khi đang ghi).
`)
	}
	if part {
		b.WriteString(`viewing/clip.mp4 được làm mờ toàn bộ hình ở những đoạn mà gói không ghi lại
vị trí của người và xe.
`)
	}
	b.WriteString(`
On the copies people whom the event is not about, and number plates, are
blurred where the machine recognised them, and so are the areas that the camera
is told not to look at. The machine may miss some: look at a copy before you
hand it on.
`)
	if z.p.request.Blur == BlurAll {
		b.WriteString("The head or number plate of those it is about is blurred as well.\n")
	}
	if none {
		b.WriteString(`viewing/clip.mp4 is blurred as a whole: the package does not say where people
and vehicles are in it (for instance because the server was restarted meanwhile).
`)
	}
	if part {
		b.WriteString(`viewing/clip.mp4 is blurred as a whole where the package does not say where
people and vehicles are.
`)
	}
	return []byte(b.String())
}
