package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/vision/score"
)

func newEvalDetectionsCommand() *cobra.Command {
	var truth, protocol string
	var merge []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "detections --truth annotations.json DET.json",
		Short: "Score detections against COCO annotations: AP50, AP50:95, AR, by class",
		Long: `Score detections, as "xacam detect" or a COCO tool writes them, against COCO
annotations. The figures are those of pycocotools; --protocol voc gives the
average precision of PASCAL VOC at an overlap of 0.5 instead, without
interpolation. Classes that nobody has annotated are not looked at.`,
		Args: usageArgs(cobra.ExactArgs(1)),
	}
	l := newLimits(cmd)
	f := cmd.Flags()
	f.StringVar(&truth, "truth", "", "annotations, COCO's JSON (required)")
	f.StringVar(&protocol, "protocol", "coco", "coco or voc")
	f.StringSliceVar(&merge, "class", nil, "FOUND=ANNOTATED: count detections of one class as another, such as truck=vehicle; may be repeated")
	f.BoolVar(&asJSON, "json", false, "write JSON")
	l.least("ap50", "the mean AP50")
	l.least("ap", "the mean AP50:95")
	l.least("ar", "the mean recall with 100 detections")
	mustRequire(cmd, "truth")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := l.valid(); err != nil {
			return err
		}
		if protocol != "coco" && protocol != "voc" {
			return usagef("--protocol %q: give coco or voc", protocol)
		}
		d, found, err := readDetections(truth, args[0], merge)
		if err != nil {
			return err
		}
		result := cocoResult(&d, found)
		if protocol == "voc" {
			result = vocResult(&d, found)
		}
		result.Pictures, result.Objects, result.Detections = len(d.Images), countObjects(&d), len(found)
		if asJSON {
			err = writeJSONTo(cmd.OutOrStdout(), result)
		} else {
			err = result.print(cmd.OutOrStdout())
		}
		if err != nil {
			return err
		}
		return l.check(map[string]float64{"min-ap50": orNone(result.AP50), "min-ap": orNone(result.AP), "min-ar": orNone(result.AR100)})
	}
	return cmd
}

func orNone(v *float64) float64 {
	if v == nil {
		return -1
	}
	return *v
}

// readDetections reads annotations and detections and renames classes.
func readDetections(truth, path string, merge []string) (score.Dataset, []score.Found, error) {
	names := make(map[string]string)
	for _, m := range merge {
		from, to, ok := strings.Cut(m, "=")
		if !ok || from == "" || to == "" {
			return score.Dataset{}, nil, usagef("--class %q: give FOUND=ANNOTATED, such as truck=vehicle", m)
		}
		names[score.Canonical(from)] = score.Canonical(to)
	}
	tf, err := os.Open(truth)
	if err != nil {
		return score.Dataset{}, nil, fmt.Errorf("read the annotations: %w", err)
	}
	defer tf.Close()
	d, err := score.ReadCOCO(tf)
	if err != nil {
		return score.Dataset{}, nil, fmt.Errorf("%s: %w", truth, err)
	}
	df, err := os.Open(path)
	if err != nil {
		return score.Dataset{}, nil, fmt.Errorf("read the detections: %w", err)
	}
	defer df.Close()
	found, err := d.ReadFound(df)
	if err != nil {
		return score.Dataset{}, nil, fmt.Errorf("%s: %w", path, err)
	}
	for i := range found {
		if to, ok := names[found[i].Category]; ok {
			found[i].Category = to
		}
	}
	return d, found, nil
}

func countObjects(d *score.Dataset) int {
	n := 0
	for i := range d.Truths {
		if !d.Truths[i].Ignore {
			n++
		}
	}
	return n
}

// detectionResult is the JSON of eval detections. Figures lie in [0,1], null
// where there is nothing to find.
type detectionResult struct {
	Protocol   string   `json:"protocol"`
	Pictures   int      `json:"pictures"`
	Objects    int      `json:"objects"` // that count
	Detections int      `json:"detections"`
	AP         *float64 `json:"ap"` // of overlaps 0.50:0.95; null in VOC's protocol
	AP50       *float64 `json:"ap50"`
	AP75       *float64 `json:"ap75"`
	APSmall    *float64 `json:"ap_small"`
	APMedium   *float64 `json:"ap_medium"`
	APLarge    *float64 `json:"ap_large"`
	AR1        *float64 `json:"ar1"`
	AR10       *float64 `json:"ar10"`
	AR100      *float64 `json:"ar100"`
	ARSmall    *float64 `json:"ar_small"`
	ARMedium   *float64 `json:"ar_medium"`
	ARLarge    *float64 `json:"ar_large"`

	Classes []detectionClass `json:"classes"`
}

type detectionClass struct {
	Category   string   `json:"category"`
	Objects    int      `json:"objects"`
	Detections int      `json:"detections"`
	AP         *float64 `json:"ap"`
	AP50       *float64 `json:"ap50"`
	AP75       *float64 `json:"ap75"`
	AR100      *float64 `json:"ar100"`
}

func cocoResult(d *score.Dataset, found []score.Found) detectionResult {
	c := score.ComputeCOCO(d, found)
	r := detectionResult{
		Protocol: "coco", AP: orNull(c.AP), AP50: orNull(c.AP50), AP75: orNull(c.AP75),
		APSmall: orNull(c.APSmall), APMedium: orNull(c.APMedium), APLarge: orNull(c.APLarge),
		AR1: orNull(c.AR1), AR10: orNull(c.AR10), AR100: orNull(c.AR100),
		ARSmall: orNull(c.ARSmall), ARMedium: orNull(c.ARMedium), ARLarge: orNull(c.ARLarge),
		Classes: []detectionClass{},
	}
	for _, k := range c.Classes {
		r.Classes = append(r.Classes, detectionClass{
			Category: k.Category, Objects: k.Truths, Detections: k.Found,
			AP: orNull(k.AP), AP50: orNull(k.AP50), AP75: orNull(k.AP75), AR100: orNull(k.AR),
		})
	}
	return r
}

func vocResult(d *score.Dataset, found []score.Found) detectionResult {
	classes, mean := score.AP(d.Truths, found, 0.5)
	r := detectionResult{Protocol: "voc", Classes: []detectionClass{}}
	if len(classes) > 0 {
		r.AP50 = &mean
	}
	for _, k := range classes {
		r.Classes = append(r.Classes, detectionClass{Category: k.Category, Objects: k.Truths, Detections: k.Found, AP50: orNull(k.AP)})
	}
	return r
}

func (r *detectionResult) print(w io.Writer) error {
	cell := func(v *float64) string { return figure(orNone(v)) }
	rows := [][]string{{"class", "objects", "found", "AP50", "AP75", "AP50:95", "AR100"}}
	for _, k := range r.Classes {
		rows = append(rows, []string{k.Category, strconv.Itoa(k.Objects), strconv.Itoa(k.Detections), cell(k.AP50), cell(k.AP75), cell(k.AP), cell(k.AR100)})
	}
	rows = append(rows, []string{"all", strconv.Itoa(r.Objects), strconv.Itoa(r.Detections), cell(r.AP50), cell(r.AP75), cell(r.AP), cell(r.AR100)})
	if err := table(w, rows, 1); err != nil {
		return err
	}
	if r.Protocol == "voc" {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return table(w, [][]string{
		{"", "small", "medium", "large", "1 a picture", "10", "100"},
		{"AP50:95", cell(r.APSmall), cell(r.APMedium), cell(r.APLarge), "", "", cell(r.AP)},
		{"AR", cell(r.ARSmall), cell(r.ARMedium), cell(r.ARLarge), cell(r.AR1), cell(r.AR10), cell(r.AR100)},
	}, 1)
}
