package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/family"
	"github.com/xacam/xacam/vision/ort"
	"github.com/xacam/xacam/vision/second"
)

// givenManifest takes the user's manifest for the file.
func givenManifest(rt *ort.Runtime, file string, o addOptions) (draft, error) {
	text, err := os.ReadFile(o.manifest)
	if err != nil {
		return draft{}, usagef("%w", err)
	}
	m, err := models.Parse(text)
	if err != nil {
		return draft{}, usagef("%s: %w", o.manifest, err)
	}
	info, err := rt.Inspect(file)
	if err != nil {
		return draft{}, err
	}
	if m.SHA256 != info.SHA256 {
		return draft{}, usagef("%s is for another file: its sha256 is %.12s…, that of %s is %.12s…", o.manifest, m.SHA256, file, info.SHA256)
	}
	if o.name != "" {
		m.Name, m.File = o.name, o.name+".onnx"
	}
	d := draft{manifest: m}
	d.unknownLicence()
	return d, nil
}

const unknownLicence = "unknown"

// unknownLicence says what the licence has to do with it.
func (d *draft) unknownLicence() {
	switch l := strings.ToUpper(d.manifest.Licence); {
	case d.manifest.Licence == unknownLicence:
		d.missing = append(d.missing, "the licence is not in the file; ask whoever gave it to you and give it with --licence")
	case strings.Contains(l, "GPL"):
		d.notes = append(d.notes, "The licence is "+d.manifest.Licence+": whoever offers it to others, over a network too with the AGPL, "+
			"must offer the sources; xacam itself neither contains nor recommends such models.")
	}
}

// proposal is a manifest in the making.
type proposal struct {
	draft

	o      addOptions
	info   ort.Model
	input  ort.Info
	labels models.Labels // nil when unknown
	from   string        // where labels are from
}

// propose looks into the file and makes a manifest of it.
func propose(rt *ort.Runtime, file string, o addOptions) (draft, error) {
	p := proposal{o: o}
	var err error
	if p.info, err = rt.Inspect(file); err != nil {
		return draft{}, err
	}
	if err := p.head(file); err != nil {
		return draft{}, err
	}
	if err := p.picture(); err != nil {
		return draft{}, fmt.Errorf("%s: %w", file, err)
	}
	if err := p.names(); err != nil {
		return draft{}, err
	}
	outputs, err := p.try(rt, file)
	if err != nil {
		return draft{}, err
	}
	if p.o.family == second.FamilyEmbedding || p.o.family == "" && isEmbedding(outputs) && len(p.ways(outputs)) == 0 {
		if err := p.embedding(outputs); err != nil {
			return draft{}, fmt.Errorf("%s: %w", file, err)
		}
	} else {
		choice, err := p.choose(outputs)
		if err != nil {
			return draft{}, fmt.Errorf("%s: %w", file, err)
		}
		p.apply(choice)
		if err := p.name(choice); err != nil {
			return draft{}, err
		}
	}
	text, err := p.manifest.YAML()
	if err != nil {
		return draft{}, err
	}
	if _, err := models.Parse(text); err != nil { // of flags
		return draft{}, usagef("%w", err)
	}
	return p.draft, nil
}

var notInName = regexp.MustCompile(`[^a-z0-9._-]+`)

// head fills in what does not depend on the model's shapes.
func (p *proposal) head(file string) error {
	m := &p.manifest
	m.Name = p.o.name
	if m.Name == "" {
		base := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		m.Name = strings.Trim(notInName.ReplaceAllString(strings.ToLower(base), "-"), "-._")
		m.Name = m.Name[:min(len(m.Name), 64)]
	}
	if m.Name == "" {
		return usagef("%s makes no name; give one with --name", file)
	}
	m.File, m.Bytes, m.SHA256 = m.Name+".onnx", p.info.Bytes, p.info.SHA256
	m.NMS, m.MinScore, m.Description = 0.45, 0.35, p.o.description
	m.Licence = p.o.licence
	if l, _, _ := strings.Cut(p.info.Metadata["license"], " "); m.Licence == "" && l != "" {
		m.Licence = l
	}
	if m.Licence == "" {
		m.Licence = unknownLicence
	}
	p.unknownLicence()
	return nil
}

// picture finds the input that takes the picture, its layout and size, and
// values for the others.
func (p *proposal) picture() error {
	in := &p.manifest.Input
	for _, i := range p.info.Inputs {
		n := len(i.Shape)
		switch {
		case n < 3 || n > 4 || i.Type == "":
		case i.Shape[n-3] == 3:
			p.input, in.Layout = i, "nchw"
		case i.Shape[n-1] == 3:
			p.input, in.Layout = i, "nhwc"
		}
	}
	if in.Layout == "" {
		return fmt.Errorf("no input takes a colour picture: they are %v, not [1 3 height width] or [1 height width 3]", p.info.Inputs)
	}
	n := len(p.input.Shape)
	in.Height, in.Width = p.input.Shape[n-2], p.input.Shape[n-1]
	if in.Layout == "nhwc" {
		in.Height, in.Width = p.input.Shape[n-3], p.input.Shape[n-2]
	}
	if err := p.size(); err != nil {
		return err
	}
	for _, i := range p.info.Inputs {
		if i.Name == p.input.Name {
			continue
		}
		if len(i.Shape) == 0 || i.Shape[len(i.Shape)-1] != 2 || !strings.Contains(i.Name, "size") {
			return fmt.Errorf("nobody knows what input %s wants; write its values into a manifest as input.extra and give that with --manifest", i)
		}
		if in.Extra == nil {
			in.Extra = make(map[string][]float64)
		}
		in.Extra[i.Name] = []float64{float64(in.Width), float64(in.Height)}
		p.notes = append(p.notes, fmt.Sprintf("Input %s is taken to be width and height; some exports want height and width (for a square input it is the same).", i))
	}
	return nil
}

var sizeRE = regexp.MustCompile(`^(\d{2,4})(?:x(\d{2,4}))?$`)

// size settles width and height: the file's, else the flag's, else what the
// exporter wrote down.
func (p *proposal) size() error {
	in := &p.manifest.Input
	var w, h int
	if p.o.size != "" {
		s := sizeRE.FindStringSubmatch(p.o.size)
		if s == nil {
			return usagef("--size %s: give 640 or 640x480", p.o.size)
		}
		w, _ = strconv.Atoi(s[1]) // digits
		if h = w; s[2] != "" {
			h, _ = strconv.Atoi(s[2]) // digits
		}
	} else if in.Width <= 0 || in.Height <= 0 {
		if n, err := fmt.Sscanf(p.info.Metadata["imgsz"], "[%d, %d]", &h, &w); err != nil || n != 2 {
			return usagef("input %s leaves its size open; give it with --size 640 or --size 640x480 (width x height)", p.input)
		}
		p.notes = append(p.notes, fmt.Sprintf("The size %dx%d is what the exporter wrote down; the model takes others too (--size).", w, h))
	}
	for _, side := range []struct {
		have *int
		want int
	}{{&in.Width, w}, {&in.Height, h}} {
		if *side.have <= 0 {
			*side.have = side.want
		}
		if side.want > 0 && *side.have != side.want {
			return usagef("input %s has a fixed size; --size %s does not fit", p.input, p.o.size)
		}
	}
	return nil
}

// names finds the names of the classes: the flag's file, else the exporter's.
func (p *proposal) names() (err error) {
	if p.o.labels != "" {
		if p.labels, err = models.ReadLabels(p.o.labels); err != nil {
			return usagef("%w", err)
		}
		p.from = p.o.labels
		return nil
	}
	if text, ok := p.info.Metadata["names"]; ok {
		if p.labels, err = models.ParseNames(text); err != nil {
			p.notes = append(p.notes, fmt.Sprintf("The file has names of classes, but they cannot be read: %v.", err))
			return nil
		}
		p.from = "the file's metadata"
	}
	return nil
}

// try runs the model once on a grey picture.
func (p *proposal) try(rt *ort.Runtime, file string) ([]vision.Tensor, error) {
	in := p.manifest.Input
	s, err := rt.Load(ort.Config{Path: file, Width: in.Width, Height: in.Height, Layout: in.Layout, Extra: in.Extra})
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	b, err := s.NewBuffers()
	if err != nil {
		return nil, err
	}
	defer b.Close()
	for i := range b.Input() {
		b.Input()[i] = 0.5
	}
	out, err := s.Run(b)
	if err != nil {
		return nil, err
	}
	own := make([]vision.Tensor, len(out))
	for i, t := range out {
		own[i] = vision.Tensor{Name: t.Name, Shape: slices.Clone(t.Shape), Data: slices.Clone(t.Data)}
	}
	return own, nil
}

// ways returns how a detector's outputs can be read, the likeliest first.
func (p *proposal) ways(outputs []vision.Tensor) []family.Proposal {
	in := p.manifest.Input
	return family.Propose(family.Spec{Width: in.Width, Height: in.Height, Outputs: outputs, Sizes: len(in.Extra) > 0})
}

// choose takes the likeliest way to read the outputs that has as many classes
// as there are names.
func (p *proposal) choose(outputs []vision.Tensor) (family.Proposal, error) {
	if p.o.family != "" {
		if _, err := family.Lookup(p.o.family); err != nil {
			return family.Proposal{}, usagef("--family: %w", err)
		}
	}
	in := p.manifest.Input
	all := p.ways(outputs)
	all = slices.DeleteFunc(all, func(c family.Proposal) bool { return p.o.family != "" && c.Family != p.o.family })
	if len(all) == 0 && p.o.family != "" {
		return family.Proposal{}, fmt.Errorf("its outputs %v are not those of family %s at %dx%d", outputs, p.o.family, in.Width, in.Height)
	}
	if len(all) == 0 {
		return family.Proposal{}, fmt.Errorf("its outputs %v fit no family at %dx%d; there are %s", outputs, in.Width, in.Height,
			strings.Join(family.Names(), ", "))
	}
	fits := slices.DeleteFunc(slices.Clone(all), func(c family.Proposal) bool {
		return p.labels != nil && c.Classes > 0 && c.Classes != len(p.labels)
	})
	if len(fits) == 0 {
		c := all[0]
		return c, fmt.Errorf("%s has %d names, but output %s has %d classes (%s); %d would be %s%v",
			p.from, len(p.labels), c.Output, c.Classes, c.Family, len(p.labels), c.Output.Name, c.Shape(len(p.labels)))
	}
	for _, c := range fits[1:] {
		p.notes = append(p.notes, fmt.Sprintf("The outputs could also be those of family %s (--family %s).", c.Family, c.Family))
	}
	return fits[0], nil
}

// apply completes the manifest with what is usual in the family.
func (p *proposal) apply(c family.Proposal) {
	m := &p.manifest
	m.Family, m.Params = c.Family, c.Params
	in := &m.Input
	in.Channels, in.Scale, in.Mean, in.Std = c.Input.Channels, c.Input.Scale, c.Input.Mean, c.Input.Std
	in.Letterbox, in.Pad = c.Input.Letterbox, c.Input.Pad
	switch p.input.Type {
	case "uint8":
		in.Scale, in.Mean, in.Std = 1, nil, nil
	case "int8":
		in.Scale, in.Mean, in.Std = 1, []float64{128, 128, 128}, nil
		p.notes = append(p.notes, "The input is int8: 0–255 is taken to be -128…127.")
	}
	if p.o.channels != "" {
		in.Channels = p.o.channels
	}
	if p.o.letterbox != "" {
		in.Letterbox = p.o.letterbox
	}
	for _, out := range p.info.Outputs {
		if out.Type == "int8" || out.Type == "uint8" {
			p.notes = append(p.notes, fmt.Sprintf("Output %s is %s: params.quant must say what its numbers stand for (scale and zero of its quantisation), "+
				"unless they are what they are.", out, out.Type))
		}
	}
	p.notes = append(p.notes, c.Notes...)
	values := fmt.Sprintf("0 to %.4g", 255*in.Scale)
	if len(in.Mean)+len(in.Std) > 0 {
		values += fmt.Sprintf(" less mean %v, over std %v", in.Mean, in.Std)
	}
	p.notes = append(p.notes, fmt.Sprintf("No ONNX file says how it wants its picture. Usual for %s: %s, %s, %s. "+
		"Where boxes are missing or weak, look into the code it was trained with (--channels, --letterbox, or a manifest).",
		c.Family, in.Channels, values, in.Letterbox))
}

// name gives the classes their names.
func (p *proposal) name(c family.Proposal) error {
	m := &p.manifest
	switch {
	case p.labels != nil:
		m.Labels = p.labels
		if p.o.labels == "" {
			p.notes = append(p.notes, "The names of the classes are the file's own.")
		}
	case c.Classes == 80:
		m.Labels = models.COCO()
		p.notes = append(p.notes, "80 classes are taken to be COCO's; give others with --labels.")
	case c.Classes == 0:
		return usagef("neither the file nor its output says which classes there are; give their names with --labels, one a line, or --labels coco")
	default:
		for i := range c.Classes {
			m.Labels = append(m.Labels, fmt.Sprintf("class-%d", i))
		}
		p.missing = append(p.missing, fmt.Sprintf("the names of the %d classes are not in the file; give them with --labels, one a line", c.Classes))
	}
	return nil
}
