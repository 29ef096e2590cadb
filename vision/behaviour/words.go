package behaviour

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xacam/xacam/events"
)

// vietnamese names the classes of COCO (and a few more) that a commune's camera
// sees, with the classifier where the language wants one.
var vietnamese = map[string]string{
	"person": "người", "bicycle": "xe đạp", "motorcycle": "xe máy", "motorbike": "xe máy", "car": "ô tô", "bus": "xe buýt",
	"truck": "xe tải", "train": "tàu hỏa", "boat": "chiếc thuyền", "airplane": "chiếc máy bay", "tricycle": "xe ba gác", "van": "xe van",
	"traffic light": "đèn giao thông", "stop sign": "biển dừng", "fire hydrant": "trụ cứu hỏa", "bench": "băng ghế",
	"bird": "con chim", "cat": "con mèo", "dog": "con chó", "horse": "con ngựa", "sheep": "con cừu", "cow": "con bò", "buffalo": "con trâu",
	"elephant": "con voi", "bear": "con gấu", "pig": "con heo", "chicken": "con gà", "duck": "con vịt",
	"backpack": "cái ba lô", "umbrella": "cây dù", "handbag": "cái túi xách", "suitcase": "cái va li", "sports ball": "trái banh", "kite": "con diều",
	"bottle": "cái chai", "cup": "cái ly", "knife": "con dao", "chair": "cái ghế", "couch": "ghế sofa", "potted plant": "chậu cây",
	"bed": "cái giường", "dining table": "cái bàn", "tv": "cái tivi", "laptop": "chiếc máy tính xách tay", "cell phone": "chiếc điện thoại",
	"book": "quyển sách", "garbage bag": "bao rác", "trash": "đống rác", "fire": "đám lửa", "smoke": "đám khói", "helmet": "cái mũ bảo hiểm",
}

// someVI returns "một người", "một xe máy"; of an unknown class "một vật thể
// (class)".
func someVI(class string) string {
	if n, ok := vietnamese[class]; ok {
		return "một " + n
	}
	return "một vật thể (" + class + ")"
}

// someEN returns "a person", "an airplane".
func someEN(class string) string {
	if class != "" && strings.ContainsRune("aeiou", rune(class[0])) {
		return "an " + class
	}
	return "a " + class
}

// numberVI writes a number as Vietnamese does, with a decimal comma: with so
// many decimals, or with as many as it needs when they are negative.
func numberVI(v float64, decimals int) string {
	return strings.Replace(numberEN(v, decimals), ".", ",", 1)
}

// numberEN writes a number with a decimal point, and never an exponent.
func numberEN(v float64, decimals int) string { return strconv.FormatFloat(v, 'f', decimals, 64) }

// sentence makes a Text of both wordings with the first letter upper case and
// a full stop.
func sentence(vi, en string) events.Text {
	return events.Text{VI: upper(vi) + ".", EN: upper(en) + "."}
}

func upper(s string) string {
	for i, r := range s {
		return strings.ToUpper(string(r)) + s[i+len(string(r)):]
	}
	return s
}

// clock returns the local time of day of at, "22:14".
func (r *Rule) clock(at time.Time) string {
	if r.Calendar.Location != nil {
		at = at.In(r.Calendar.Location)
	}
	return at.Format("15:04")
}

// permitted are the kinds of what people may do at other hours. The schedule of
// the others says when somebody wants to know.
var permitted = []events.Kind{
	KindIntrusion, KindLineCrossing, KindLoitering, KindStoppedVehicle, KindCrowd,
}

// outside returns what to add to a sentence when the rule has a schedule: it is
// active when the thing is not permitted.
func (r *Rule) outside() (vi, en string) {
	if r.Schedule.Always() || !slices.Contains(permitted, r.kind) {
		return "", ""
	}
	return ", ngoài giờ cho phép", ", outside permitted hours"
}

// sayings remembers the sentences of a rule whose words depend on nothing but a
// class, a zone and the minute: they are asked for at each scene for as long as
// something holds.
type sayings map[sayingOf]saying

type sayingOf struct{ class, zone string }

type saying struct {
	minute int64 // of local time, since 1970
	text   events.Text
}

// maxSayings bounds what is remembered: zones times the classes of a model.
const maxSayings = 512

// why is Rule.why with the words that make returns, which is not called twice in
// a minute.
func (m sayings) why(r *Rule, of sayingOf, at time.Time, words func() (vi, en string)) events.Text {
	local := at
	if r.Calendar.Location != nil {
		local = at.In(r.Calendar.Location)
	}
	_, offset := local.Zone()
	minute := (at.Unix() + int64(offset)) / 60
	s, known := m[of]
	if !known || s.minute != minute {
		if len(m) >= maxSayings {
			clear(m)
		}
		vi, en := words()
		s = saying{minute, r.why(at, vi, en)}
		m[of] = s
	}
	return s.text
}

// why makes the two sentences "VI at time" and "EN at time".
func (r *Rule) why(at time.Time, vi, en string) events.Text {
	ovi, oen := r.outside()
	return sentence(fmt.Sprintf("%s lúc %s%s", vi, r.clock(at), ovi), fmt.Sprintf("%s at %s%s", en, r.clock(at), oen))
}
