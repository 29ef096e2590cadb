package models

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxLabels is how many classes a model may have.
const maxLabels = 10000

// ReadLabels reads class names from a file, one a line in the order of the
// model's output; "coco" stands for the 80 of COCO.
func ReadLabels(path string) (Labels, error) {
	if path == "coco" {
		return COCO(), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read labels: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("read labels: %w", err)
	}
	if len(data) > maxManifest || !utf8.Valid(data) {
		return nil, fmt.Errorf("read labels: %s is not a text with one name a line", path)
	}
	text := strings.TrimPrefix(strings.ReplaceAll(string(data), "\r", ""), "\ufeff")
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, l := range lines {
		if lines[i] = strings.TrimSpace(l); lines[i] == "" || len(lines[i]) > 64 {
			return nil, fmt.Errorf("read labels: line %d of %s is not a name of 1 to 64 bytes", i+1, path)
		}
	}
	return lines, nil
}

// spellings are other words for classes of COCO, lower case and without spaces:
// those of PASCAL VOC, which some lists of COCO's classes have kept, and of data
// sets of roads. Further names of a class, such as "rider", are other classes.
func spellings() map[string]string {
	return map[string]string{
		"motorbike": "motorcycle", "aeroplane": "airplane", "sofa": "couch", "tvmonitor": "tv", "television": "tv",
		"hairdryer": "hair drier", "doughnut": "donut", "mobilephone": "cell phone", "pedestrian": "person",
	}
}

// plainSpelling maps every known spelling to COCO's.
//
//nolint:gochecknoglobals // made once, of constants
var plainSpelling = sync.OnceValue(func() map[string]string {
	out := spellings()
	for _, name := range COCO() {
		out[squeeze(name)] = name
	}
	return out
})

// squeeze is what different spellings of a name have in common.
func squeeze(name string) string {
	return strings.NewReplacer(" ", "", "_", "", "-", "").Replace(strings.ToLower(name))
}

// ClassName returns COCO's spelling of a class: "motorcycle" for "motorbike",
// "traffic light" for "Traffic_Light". A class that COCO does not have stays as
// it is, without the space around it. Everything that compares classes, those of
// models and those of rules, does so by this name.
func ClassName(name string) string {
	name = strings.TrimSpace(name)
	if known, ok := plainSpelling()[squeeze(name)]; ok {
		return known
	}
	return name
}

// ClassNames returns a copy of the list with each name as ClassName has it; nil
// for none.
func ClassNames(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = ClassName(n)
	}
	return out
}

// ParseNames reads class names as exporters write them into a model, which is
// how Python prints a dictionary or a list: {0: 'person', 1: "driver's cab"} or
// ['person', 'car'].
func ParseNames(s string) (Labels, error) {
	p := names{rest: strings.TrimSpace(s)}
	out, err := p.parse()
	if err != nil {
		return nil, fmt.Errorf("read class names: %w", err)
	}
	return out, nil
}

// names is the text that is still to be read.
type names struct{ rest string }

func (p *names) parse() (Labels, error) {
	end := "]"
	numbered := p.take("{")
	if numbered {
		end = "}"
	} else if !p.take("[") {
		return nil, errors.New("neither a dictionary nor a list")
	}
	var out Labels
	byIndex := make(map[int]string)
	for !p.take(end) {
		if len(byIndex) >= maxLabels {
			return nil, fmt.Errorf("more than %d", maxLabels)
		}
		index := len(byIndex)
		if numbered {
			var err error
			if index, err = p.number(); err != nil {
				return nil, err
			}
		}
		name, err := p.quoted()
		if err != nil {
			return nil, err
		}
		if _, dup := byIndex[index]; dup {
			return nil, fmt.Errorf("class %d is named twice", index)
		}
		byIndex[index] = name
		if !p.take(",") && !strings.HasPrefix(p.rest, end) {
			return nil, errors.New("a comma is missing")
		}
	}
	for i := range len(byIndex) {
		name, ok := byIndex[i]
		if !ok {
			return nil, fmt.Errorf("class %d of %d has no name", i, len(byIndex))
		}
		out = append(out, name)
	}
	if p.rest != "" || len(out) == 0 || slices.Contains(out, "") {
		return nil, errors.New("it ends in something else, or a name is empty")
	}
	return out, nil
}

// take removes a word and the space after it.
func (p *names) take(word string) bool {
	rest, ok := strings.CutPrefix(p.rest, word)
	if ok {
		p.rest = strings.TrimLeft(rest, " \n\t")
	}
	return ok
}

func (p *names) number() (int, error) {
	key, rest, ok := strings.Cut(p.rest, ":")
	n, err := strconv.Atoi(strings.Trim(strings.TrimSpace(key), `"'`))
	if !ok || err != nil || n < 0 || n >= maxLabels {
		return 0, errors.New("a class has no number")
	}
	p.rest = strings.TrimLeft(rest, " \n\t")
	return n, nil
}

func (p *names) quoted() (string, error) {
	if p.rest == "" || p.rest[0] != '\'' && p.rest[0] != '"' {
		return "", errors.New("a name is not quoted")
	}
	quote := p.rest[0]
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		case c == quote:
			p.rest = strings.TrimLeft(p.rest[i+1:], " \n\t")
			return strings.TrimSpace(b.String()), nil
		default:
			b.WriteByte(c)
		}
	}
	return "", errors.New("a name has no end")
}
