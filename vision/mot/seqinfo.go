package mot

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// SeqInfo is what a seqinfo.ini says about a sequence.
type SeqInfo struct {
	Name     string  // "TUD-Campus"
	ImageDir string  // folder of the pictures beside the file
	ImageExt string  // ".jpg"
	FPS      float64 // frames a second, above 0, at most 1000
	Length   int     // frames, from 1 to MaxFrame
	WidthPx  int     // from 1 to 1000000
	HeightPx int     // from 1 to 1000000
}

const maxINI = 64 << 10 // bytes of a seqinfo.ini

// ReadSeqInfo reads a seqinfo.ini. The section [Sequence] with frameRate,
// seqLength, imWidth and imHeight must be there; keys are compared without
// regard to case, unknown keys and other sections are skipped, and a key given
// twice is an error.
func ReadSeqInfo(r io.Reader) (SeqInfo, error) {
	info, err := readSeqInfo(r)
	if err != nil {
		return SeqInfo{}, fmt.Errorf("read seqinfo: %w", err)
	}
	return info, nil
}

func readSeqInfo(r io.Reader) (SeqInfo, error) {
	sc := bufio.NewScanner(io.LimitReader(r, maxINI))
	sc.Buffer(make([]byte, 0, maxLine), maxLine)
	var info SeqInfo
	seen := map[string]bool{}
	section, line := "", 0
	for sc.Scan() {
		line++
		text := strings.TrimSpace(strings.TrimPrefix(sc.Text(), "\ufeff"))
		switch {
		case text == "" || text[0] == ';' || text[0] == '#':
			continue
		case text[0] == '[':
			if !strings.HasSuffix(text, "]") {
				return info, &LineError{line, "section without an end"}
			}
			section = strings.ToLower(strings.TrimSpace(text[1 : len(text)-1]))
			continue
		case section != "sequence":
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return info, &LineError{line, "neither a section nor key=value"}
		}
		key = strings.ToLower(strings.TrimSpace(key))
		if seen[key] {
			return info, &LineError{line, fmt.Sprintf("%.40q is given twice", key)}
		}
		seen[key] = true
		if err := info.set(key, strings.TrimSpace(value)); err != nil {
			return info, &LineError{line, err.Error()}
		}
	}
	if err := sc.Err(); err != nil {
		return info, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	for _, key := range []string{"frameRate", "seqLength", "imWidth", "imHeight"} {
		if !seen[strings.ToLower(key)] {
			return info, fmt.Errorf("%w: [Sequence] has no %s", ErrFormat, key)
		}
	}
	return info, nil
}

func (s *SeqInfo) set(key, value string) (err error) {
	switch key {
	case "name":
		s.Name = value
	case "imdir":
		s.ImageDir = value
	case "imext":
		s.ImageExt = value
	case "framerate":
		s.FPS, err = strconv.ParseFloat(value, 64)
		if err != nil || math.IsNaN(s.FPS) || s.FPS <= 0 || s.FPS > 1000 {
			return fmt.Errorf("frameRate %.40q is not between 0 and 1000", value)
		}
	case "seqlength":
		s.Length, err = wholeNumber("seqLength", value, MaxFrame)
	case "imwidth":
		s.WidthPx, err = wholeNumber("imWidth", value, maxPixel)
	case "imheight":
		s.HeightPx, err = wholeNumber("imHeight", value, maxPixel)
	}
	return err
}

func wholeNumber(key, value string, limit int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > limit {
		return 0, fmt.Errorf("%s %.40q is not a whole number from 1 to %d", key, value, limit)
	}
	return n, nil
}
