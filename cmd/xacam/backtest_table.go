package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/vision/backtest"
	"github.com/xacam/xacam/vision/behaviour"
)

// tableWords are the words of the table in one language.
type tableWords struct {
	vietnamese bool

	title, recorded, gap, noGaps, gaps, damaged string
	rule, none, total, open, severity           string
	days, dayHead, hours                        string
	live, noLive, falseAlarms, confirmed        string
	counts, examples, lasted, lasting           string
	notSeen                                     string

	severities map[events.Severity]string
	directions map[string]string
	needs      map[string]string
}

// backtestWords returns the words by language.
func backtestWords() map[string]tableWords {
	return map[string]tableWords{
		"vi": {
			vietnamese: true,
			title:      "Camera %s: quy tắc sẽ báo những gì từ %s đến %s\n",
			recorded:   "Đã ghi được %s trên %s giờ. ", noGaps: "Không có khoảng trống.\n",
			gaps: "Có %d khoảng trống, trong đó không thể có sự kiện:\n", gap: "  %s – %s (%s)\n",
			damaged: "  %d phần dữ liệu bị hỏng hoặc bị mất.\n",
			rule:    "\nQuy tắc «%s» (%s)\n  %s\n", none: "  Không có sự kiện nào.\n",
			total: "  %d sự kiện, tổng cộng %s", open: "; %d còn đang diễn ra", severity: "  Mức độ: %s\n",
			days: "  Theo ngày:\n", dayHead: "    %-12s %9s %10s\n", hours: "  Theo giờ trong ngày: %s\n",
			live:        "  Thực tế quy tắc này đã báo %d sự kiện: %d vẫn được báo, %d không còn; %d sự kiện mới.\n",
			noLive:      "  Không so sánh được với sự kiện thực tế (cần -c xacam.yaml và cơ sở dữ liệu).\n",
			falseAlarms: "  Trong %d sự kiện đã bị đánh giá là báo sai, %d vẫn được báo.\n",
			confirmed:   "  Trong %d sự kiện đã được xác nhận, %d vẫn được báo.\n",
			counts:      "  Đếm được:\n", examples: "  Ví dụ:\n", lasted: "kéo dài %s", lasting: "còn đang diễn ra",
			notSeen: "  Lưu ý: trong %s giờ, camera chưa phân tích %s, nên quy tắc không thử đầy đủ được trong thời gian đó.\n",
			severities: map[events.Severity]string{
				events.SeverityInfo: "thông tin", events.SeverityLow: "thấp", events.SeverityMedium: "trung bình",
				events.SeverityHigh: "cao", events.SeverityCritical: "khẩn cấp",
			},
			directions: map[string]string{"a_to_b": "từ a sang b", "b_to_a": "từ b sang a"},
			needs: map[string]string{
				"riders": "người trên xe", "helmet": "mũ bảo hiểm", "stills": "vật nằm yên", "view": "tình trạng hình ảnh",
			},
		},
		"en": {
			title:    "Camera %s: what rules would have raised from %s to %s\n",
			recorded: "Recorded %s of %s h. ", noGaps: "No gaps.\n",
			gaps: "%d gaps, in which nothing could be raised:\n", gap: "  %s – %s (%s)\n",
			damaged: "  %d pieces of the recording are damaged or lost.\n",
			rule:    "\nRule “%s” (%s)\n  %s\n", none: "  No event.\n",
			total: "  %d events, %s together", open: "; %d still going on", severity: "  Severity: %s\n",
			days: "  By day:\n", dayHead: "    %-12s %9s %10s\n", hours: "  By hour of the day: %s\n",
			live:        "  This rule really raised %d events: %d are raised again, %d are not; %d are new.\n",
			noLive:      "  Not compared with what was really raised (that needs -c xacam.yaml and the database).\n",
			falseAlarms: "  Of %d events that were judged false alarms, %d are raised again.\n",
			confirmed:   "  Of %d events that were confirmed, %d are raised again.\n",
			counts:      "  Counted:\n", examples: "  Examples:\n", lasted: "for %s", lasting: "still going on",
			notSeen: "  Note: for %s h the camera's %s were not looked at, so the rule could not be tried fully there.\n",
			severities: map[events.Severity]string{
				events.SeverityInfo: "info", events.SeverityLow: "low", events.SeverityMedium: "medium",
				events.SeverityHigh: "high", events.SeverityCritical: "critical",
			},
			directions: map[string]string{"a_to_b": "a to b", "b_to_a": "b to a"},
			needs:      map[string]string{"riders": "riders", "helmet": "helmets", "stills": "still things", "view": "faults of the view"},
		},
	}
}

// table writes the result for people.
func (w tableWords) table(to io.Writer, r *backtest.Result) error {
	out := bufio.NewWriter(to)
	fmt.Fprintf(out, w.title, r.Camera, w.moment(r.From), w.moment(r.To))
	c := &r.Coverage
	fmt.Fprintf(out, w.recorded, w.number(c.Recorded), w.number(c.Hours))
	if c.GapCount == 0 {
		fmt.Fprint(out, w.noGaps)
	} else {
		fmt.Fprintf(out, w.gaps, c.GapCount)
		for _, g := range c.Gaps[:min(5, len(c.Gaps))] {
			fmt.Fprintf(out, w.gap, w.moment(g.From), w.moment(g.To), w.duration(g.To.Sub(g.From)))
		}
	}
	if c.DamagedBlocks > 0 {
		fmt.Fprintf(out, w.damaged, c.DamagedBlocks)
	}
	for i := range r.Rules {
		w.rulePart(out, &r.Rules[i])
	}
	return out.Flush()
}

func (w tableWords) rulePart(out io.Writer, r *backtest.RuleResult) {
	doc := ""
	if d, ok := behaviour.Lookup(r.Kind); ok {
		if doc = d.Doc.EN; w.vietnamese {
			doc = d.Doc.VI
		}
	}
	fmt.Fprintf(out, w.rule, r.Name, r.Kind, doc)
	if len(r.NotSeen) > 0 {
		names := make([]string, len(r.NotSeen))
		for i, n := range r.NotSeen {
			if names[i] = w.needs[n]; names[i] == "" {
				names[i] = n
			}
		}
		fmt.Fprintf(out, w.notSeen, w.number(r.NotSeenHours), strings.Join(names, ", "))
	}
	if r.Events == 0 {
		fmt.Fprint(out, w.none)
	} else {
		w.figures(out, r)
	}
	if len(r.Counts) > 0 {
		fmt.Fprint(out, w.counts)
		for _, n := range r.Counts {
			fmt.Fprintf(out, "    %s  %s  %s: %d\n", n.Line, n.Class, w.directions[n.Direction], n.N)
		}
	}
	w.comparison(out, r.Live)
	if len(r.Examples) == 0 {
		return
	}
	fmt.Fprint(out, w.examples)
	for _, x := range r.Examples {
		lasted, why := w.lasting, x.Why.EN
		if x.Until != nil {
			lasted = fmt.Sprintf(w.lasted, w.duration(x.Until.Sub(x.At)))
		}
		if w.vietnamese {
			why = x.Why.VI
		}
		fmt.Fprintf(out, "    %s (%s)  %s\n", w.moment(x.At), lasted, why)
	}
}

// figures writes how many events there were and when.
func (w tableWords) figures(out io.Writer, r *backtest.RuleResult) {
	fmt.Fprintf(out, w.total, r.Events, w.duration(time.Duration(r.Raised*float64(time.Second))))
	if r.Open > 0 {
		fmt.Fprintf(out, w.open, r.Open)
	}
	fmt.Fprintln(out)
	var parts []string
	for _, s := range events.Severities() {
		if n := r.BySeverity[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", w.severities[s], n))
		}
	}
	fmt.Fprintf(out, w.severity, strings.Join(parts, ", "))
	fmt.Fprint(out, w.days)
	if w.vietnamese {
		fmt.Fprintf(out, w.dayHead, "Ngày", "Sự kiện", "Đã ghi")
	} else {
		fmt.Fprintf(out, w.dayHead, "Day", "Events", "Recorded")
	}
	for _, d := range r.ByDay {
		fmt.Fprintf(out, "    %-12s %9d %8s h\n", w.date(d.Date), d.Events, w.number(d.Recorded))
	}
	parts = nil
	for h, n := range r.ByHour {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%dh: %d", h, n))
		}
	}
	fmt.Fprintf(out, w.hours, strings.Join(parts, ", "))
}

func (w tableWords) comparison(out io.Writer, l *backtest.Live) {
	if l == nil {
		fmt.Fprint(out, w.noLive)
		return
	}
	fmt.Fprintf(out, w.live, l.Events, l.Again, l.Events-l.Again, l.New)
	if l.FalseAlarms > 0 {
		fmt.Fprintf(out, w.falseAlarms, l.FalseAlarms, l.FalseAlarmsAgain)
	}
	if l.Confirmed > 0 {
		fmt.Fprintf(out, w.confirmed, l.Confirmed, l.ConfirmedAgain)
	}
}

// moment writes a local time.
func (w tableWords) moment(at time.Time) string {
	if w.vietnamese {
		return at.Format("15:04:05 02/01/2006")
	}
	return at.Format("2006-01-02 15:04:05")
}

// date writes a day given as 2026-11-23.
func (w tableWords) date(day string) string {
	at, err := time.Parse(time.DateOnly, day)
	if err != nil || !w.vietnamese {
		return day
	}
	return at.Format("02/01/2006")
}

// number writes a number with one decimal, with the language's comma.
func (w tableWords) number(v float64) string {
	s := fmt.Sprintf("%.1f", v)
	if w.vietnamese {
		s = strings.Replace(s, ".", ",", 1)
	}
	return s
}

// duration writes how long something lasted, in its two largest units.
func (w tableWords) duration(d time.Duration) string {
	h, m, s := "h", "min", "s"
	if w.vietnamese {
		h, m, s = "giờ", "phút", "giây"
	}
	d = d.Round(time.Second)
	switch {
	case d >= time.Hour:
		return fmt.Sprintf("%d %s %02d %s", int(d.Hours()), h, int(d.Minutes())%60, m)
	case d >= time.Minute:
		return fmt.Sprintf("%d %s %02d %s", int(d.Minutes()), m, int(d.Seconds())%60, s)
	default:
		return fmt.Sprintf("%d %s", int(d.Seconds()), s)
	}
}

// showProgress makes the request tell how far it is: on a terminal in one line,
// else in lines now and then. end takes the line away.
func showProgress(w io.Writer, q *backtest.Request) (end func()) {
	p := newProgress(w, q.File.Camera)
	q.Progress = func(at time.Time) {
		every, format := 5*time.Second, "%s: %s (%d%%)\n"
		if p.terminal {
			every, format = 100*time.Millisecond, "\r\033[K%s: %s (%d%%)"
		}
		if time.Since(p.last) < every {
			return
		}
		p.last, p.shown = time.Now(), true
		share := float64(at.Sub(q.From)) / float64(q.To.Sub(q.From))
		fmt.Fprintf(p.w, format, p.name, at.In(q.Calendar.Location).Format("2006-01-02 15:04"), int(100*max(0, share)))
	}
	return p.end
}
