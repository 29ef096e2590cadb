package probe

import (
	"fmt"
	"math"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"github.com/xacam/xacam/streams/media"
)

// profile names the profile of the parameter sets (H.264, A.2; H.265, A.3).
func profile(f media.Format) string {
	if f.Codec == media.H264 {
		if len(f.SPS) < 4 {
			return ""
		}
		name := map[byte]string{66: "Baseline", 77: "Main", 88: "Extended", 100: "High", 110: "High 10", 122: "High 4:2:2", 244: "High 4:4:4"}[f.SPS[1]]
		if f.SPS[1] == 66 && f.SPS[2]&0x40 != 0 {
			name = "Constrained Baseline"
		}
		if name == "" {
			name = fmt.Sprintf("profile %d", f.SPS[1])
		}
		return fmt.Sprintf("%s, level %.1f", name, float64(f.SPS[3])/10)
	}
	// Two bytes of NAL header, then four bits, three and one; then
	// general_profile_space, tier and profile_idc; level after 4 + 6 bytes.
	sps := h264.EmulationPreventionRemove(f.SPS[:min(len(f.SPS), 32)])
	if len(sps) < 15 {
		return ""
	}
	name := map[byte]string{1: "Main", 2: "Main 10", 3: "Main Still Picture", 4: "Range Extensions"}[sps[3]&0x1f]
	if name == "" {
		name = fmt.Sprintf("profile %d", sps[3]&0x1f)
	}
	return fmt.Sprintf("%s, level %.1f", name, float64(sps[14])/30)
}

// advise says what to change on the camera, the most important first.
func advise(r Report, detect float64) []string {
	out := []string{}
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if r.Lost > 0 {
		say("%d packets were lost: use tcp, or mend the network between the camera and this machine.", r.Lost)
	}
	switch {
	case r.KeyAtLeast >= 5:
		say("No second key frame in %.0f s: set the camera's I-frame interval to 1 or 2 s, and switch smart coding (H.264+, H.265+, Zipstream) off.", r.KeyAtLeast)
	case r.KeyInterval > 4:
		say("A key frame only every %.1f s: set the camera's I-frame interval to 1 or 2 s; live view starts and clips begin at key frames.", r.KeyInterval)
	}
	if off := math.Abs(r.ClockOffset); r.SenderReports && off > 1 {
		say("The camera's clock is wrong by %s: set NTP on the camera, with this machine or your router as the server.", seconds(off))
	}
	if !r.SenderReports {
		say("The camera does not tell its clock (no RTCP sender report came while probing): times are those of arrival, which is good to some tenths of a second.")
	}
	if r.Jumps > 0 {
		say("The timestamps jumped %d times: update the camera's firmware; times are taken from arrival meanwhile.", r.Jumps)
	}
	pixels := r.Width * r.Height
	switch {
	case pixels >= 3840*2160*9/10:
		say("4K is %.0f times the work of 640×360: give a substream of about 640×360 as detect_url and keep this one for clips.", float64(pixels)/(640*360))
	case pixels > 1920*1088:
		say("%d×%d costs much to decode: give a substream of about 640×360 as detect_url and keep this one for clips.", r.Width, r.Height)
	case pixels > 0 && r.Height < 240:
		say("%d×%d is small: people far away will not be seen.", r.Width, r.Height)
	}
	if r.Codec == media.H265.String() {
		say("H.265 costs more to decode than H.264 and not every browser shows it live: prefer H.264 if the network allows.")
	}
	if r.FPS > 3*detect {
		say("%.0f frames a second are more than detection needs (%.0f): 10 to 15 save processor and disk.", r.FPS, detect)
	}
	if r.FPS > 0 && r.FPS < detect*0.8 {
		say("%.1f frames a second are fewer than detection wants (%.0f): raise the frame rate.", r.FPS, detect)
	}
	if r.BFrames {
		say("B-frames delay the picture and cannot be shown live in browsers: choose the Baseline profile or switch B-frames off.")
	}
	if r.BitRate > 8e6 {
		say("%.1f Mbit/s is much for clips: 2 to 4 are enough for 1080p.", r.BitRate/1e6)
	}
	if r.Jitter > 0.15 || r.LongestPause > 1.5 {
		say("Pictures arrive unevenly (%.0f ms, longest pause %.1f s): check Wi-Fi and switches on the way.", r.Jitter*1000, r.LongestPause)
	}
	if r.FirstFrame > 3 {
		say("The first picture took %.1f s: a shorter I-frame interval helps.", r.FirstFrame)
	}
	if r.SnapshotError != "" {
		say("The picture could not be decoded: %s.", r.SnapshotError)
	}
	return out
}

// seconds words a clock error.
func seconds(s float64) string {
	switch {
	case s < 120:
		return fmt.Sprintf("%.0f s", s)
	case s < 7200:
		return fmt.Sprintf("%.0f min", s/60)
	case s < 172800:
		return fmt.Sprintf("%.0f h", s/3600)
	}
	return fmt.Sprintf("%.0f days", s/86400)
}

// Text renders the report for a terminal.
func (r Report) Text() string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s "+format+"\n", append([]any{name}, args...)...)
	}
	row("stream", "%s over %s", r.URL, r.Transport)
	row("video", "%s %s, %d×%d", r.Codec, r.Profile, r.Width, r.Height)
	row("frame rate", "%.2f/s measured%s", r.FPS, declared(r.DeclaredFPS))
	switch {
	case r.KeyInterval > 0:
		row("key frames", "every %.1f s at most", r.KeyInterval)
	default:
		row("key frames", "only one in %.1f s", r.KeyAtLeast)
	}
	row("bit rate", "%.2f Mbit/s", r.BitRate/1e6)
	row("first picture", "after %.2f s", r.FirstFrame)
	row("arrival", "jitter %.0f ms, longest pause %.0f ms", r.Jitter*1000, r.LongestPause*1000)
	row("losses", "%d packets, %d gaps, %d timestamp jumps in %d frames", r.Lost, r.Gaps, r.Jumps, r.AccessUnits)
	if r.SenderReports {
		row("clock", "%+.3f s against this machine", r.ClockOffset)
	} else {
		row("clock", "not told by the camera")
	}
	row("B-frames", "%s", map[bool]string{true: "yes", false: "no"}[r.BFrames])
	if len(r.Advice) == 0 {
		b.WriteString("\nNothing to change.\n")
		return b.String()
	}
	b.WriteString("\nAdvice\n")
	for _, a := range r.Advice {
		b.WriteString("- " + a + "\n")
	}
	return b.String()
}

func declared(fps float64) string {
	if fps <= 0 {
		return ""
	}
	return fmt.Sprintf(", %.2f/s declared", fps)
}
