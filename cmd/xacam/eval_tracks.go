package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/vision/mot"
	"github.com/xacam/xacam/vision/score"
)

func newEvalTracksCommand() *cobra.Command {
	var gt []string
	var preprocess string
	var every int
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "tracks --gt gt.txt RES.txt",
		Short: "Score tracks against MOTChallenge truth: HOTA, IDF1, MOTA and what they are made of",
		Long: `Score tracks, as "xacam track" writes them, against MOTChallenge truth. The
figures are those of TrackEval. --gt is a gt.txt, the folder of a sequence (with
gt/gt.txt and seqinfo.ini), or a folder of such folders; RES is a file for each
sequence, in the same order, or one folder with SEQUENCE.txt for each. Several
sequences are scored one by one and as one. The length of a sequence is that of
its seqinfo.ini, else the last frame in either file.`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
	}
	l := newLimits(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&gt, "gt", nil, "truth: a gt.txt, or a folder; may be repeated (required)")
	f.StringVar(&preprocess, "preprocess", string(score.PreprocessAuto), "what is left out: mot15, mot17, mot20, or auto: by the classes in the truth")
	f.IntVar(&every, "every", 1, "score every n-th frame only, beginning with the first: for tracks made at a lower frame rate")
	f.BoolVar(&asJSON, "json", false, "write JSON")
	l.least("hota", "HOTA")
	l.least("idf1", "IDF1")
	l.least("mota", "MOTA")
	l.atMost("idsw", "the number of identity switches")
	mustRequire(cmd, "gt")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := l.valid(); err != nil {
			return err
		}
		if every < 1 {
			return usagef("--every %d: give 1 or more", every)
		}
		sequences, err := findSequences(gt, args)
		if err != nil {
			return err
		}
		result, err := scoreSequences(sequences, score.Preprocess(preprocess), every)
		if err != nil {
			return err
		}
		if asJSON {
			err = writeJSONTo(cmd.OutOrStdout(), result)
		} else {
			err = printTracks(cmd.OutOrStdout(), result)
		}
		if err != nil {
			return err
		}
		t := &result.Combined
		return l.check(map[string]float64{"min-hota": t.HOTA, "min-idf1": t.IDF1, "min-mota": t.MOTA, "max-idsw": float64(t.IDSW)})
	}
	return cmd
}

// sequenceFiles are the files of one sequence; info is "" where there is none.
type sequenceFiles struct{ name, gt, info, res string }

// findSequences pairs truth with results.
func findSequences(gt, res []string) ([]sequenceFiles, error) {
	var out []sequenceFiles
	for _, path := range gt {
		found, err := truthOf(path)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	if len(res) == 1 {
		if info, err := os.Stat(res[0]); err == nil && info.IsDir() {
			for i := range out {
				out[i].res = filepath.Join(res[0], out[i].name+".txt")
			}
			return out, nil
		}
	}
	if len(res) != len(out) {
		return nil, usagef("%d sequences and %d results: give a result for each, or the folder that has them", len(out), len(res))
	}
	for i := range out {
		out[i].res = res[i]
	}
	return out, nil
}

// truthOf returns the sequences under a path given with --gt, by name.
func truthOf(path string) ([]sequenceFiles, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the truth: %w", err)
	}
	if !info.IsDir() {
		s := sequenceFiles{name: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), gt: path}
		if folder := filepath.Dir(path); filepath.Base(folder) == "gt" {
			folder = filepath.Dir(folder)
			s.name = filepath.Base(folder)
			s.info = existing(filepath.Join(folder, "seqinfo.ini"))
		}
		return []sequenceFiles{s}, nil
	}
	if one := existing(filepath.Join(path, "gt", "gt.txt")); one != "" {
		return truthOf(one)
	}
	files, err := filepath.Glob(filepath.Join(path, "*", "gt", "gt.txt"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("read the truth: %s has no sequence with a gt/gt.txt", path)
	}
	var out []sequenceFiles
	for _, f := range files {
		one, err := truthOf(f)
		if err != nil {
			return nil, err
		}
		out = append(out, one...)
	}
	return out, nil
}

func existing(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// load reads a sequence.
func (s sequenceFiles) load(how score.Preprocess, every int) (*score.Sequence, error) {
	truth, err := readTracks(s.gt)
	if err != nil {
		return nil, err
	}
	result, err := readTracks(s.res)
	if err != nil {
		return nil, err
	}
	length := 0
	if s.info != "" {
		f, err := os.Open(s.info)
		if err != nil {
			return nil, fmt.Errorf("read the truth: %w", err)
		}
		defer f.Close()
		info, err := mot.ReadSeqInfo(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.info, err)
		}
		length = info.Length
	} else {
		for _, rows := range [][]mot.Row{truth, result} {
			for i := range rows {
				length = max(length, rows[i].Frame)
			}
		}
	}
	seq, err := score.Prepare(length, truth, result, how)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return seq.Every(every), nil
}

func readTracks(path string) ([]mot.Row, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read tracks: there is no %s", path)
	} else if err != nil {
		return nil, fmt.Errorf("read tracks: %w", err)
	}
	defer f.Close()
	rows, err := mot.ReadTracks(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rows, nil
}

// trackResult is the JSON of eval tracks.
type trackResult struct {
	Sequences []trackFigures `json:"sequences"`
	Combined  trackFigures   `json:"combined"`
}

// trackFigures are shares in [0,1], MOTA at most 1, and counts of boxes or
// objects.
type trackFigures struct {
	Name string `json:"name"`

	HOTA float64 `json:"hota"`
	DetA float64 `json:"det_a"`
	AssA float64 `json:"ass_a"`
	DetR float64 `json:"det_r"`
	DetP float64 `json:"det_p"`
	AssR float64 `json:"ass_r"`
	AssP float64 `json:"ass_p"`
	LocA float64 `json:"loc_a"`

	IDF1 float64 `json:"idf1"`
	IDP  float64 `json:"idp"`
	IDR  float64 `json:"idr"`
	IDTP int     `json:"idtp"`
	IDFN int     `json:"idfn"`
	IDFP int     `json:"idfp"`

	MOTA float64 `json:"mota"`
	MOTP float64 `json:"motp"`
	TP   int     `json:"tp"`
	FN   int     `json:"fn"`
	FP   int     `json:"fp"`
	IDSW int     `json:"idsw"`
	Frag int     `json:"frag"`
	MT   int     `json:"mt"`
	PT   int     `json:"pt"`
	ML   int     `json:"ml"`
}

func newTrackFigures(name string, h *score.HOTA, i *score.IDF1, c *score.CLEAR) trackFigures {
	return trackFigures{
		Name: name,
		HOTA: h.HOTA, DetA: h.DetA, AssA: h.AssA, DetR: h.DetR, DetP: h.DetP, AssR: h.AssR, AssP: h.AssP, LocA: h.LocA,
		IDF1: i.IDF1, IDP: i.IDP, IDR: i.IDR, IDTP: i.IDTP, IDFN: i.IDFN, IDFP: i.IDFP,
		MOTA: c.MOTA, MOTP: c.MOTP, TP: c.TP, FN: c.FN, FP: c.FP, IDSW: c.IDSW, Frag: c.Frag, MT: c.MT, PT: c.PT, ML: c.ML,
	}
}

func scoreSequences(files []sequenceFiles, how score.Preprocess, every int) (trackResult, error) {
	var hotas []score.HOTA
	var idf1s []score.IDF1
	var clears []score.CLEAR
	var out trackResult
	for _, f := range files {
		s, err := f.load(how, every)
		if err != nil {
			return out, err
		}
		h, err := score.ComputeHOTA(s)
		if err != nil {
			return out, fmt.Errorf("%s: %w", f.name, err)
		}
		i, err := score.ComputeIDF1(s)
		if err != nil {
			return out, fmt.Errorf("%s: %w", f.name, err)
		}
		c, err := score.ComputeCLEAR(s)
		if err != nil {
			return out, fmt.Errorf("%s: %w", f.name, err)
		}
		hotas, idf1s, clears = append(hotas, h), append(idf1s, i), append(clears, c)
		out.Sequences = append(out.Sequences, newTrackFigures(f.name, &h, &i, &c))
	}
	h, i, c := score.CombineHOTA(hotas...), score.CombineIDF1(idf1s...), score.CombineCLEAR(clears...)
	out.Combined = newTrackFigures("all", &h, &i, &c)
	return out, nil
}

// printTracks writes percentages, as TrackEval does.
func printTracks(w io.Writer, r trackResult) error {
	rows := [][]string{{
		"sequence", "HOTA", "DetA", "AssA", "LocA", "IDF1", "IDP", "IDR", "MOTA", "MOTP", "IDSW", "Frag", "MT", "PT", "ML", "FP", "FN",
	}}
	all := r.Sequences
	if len(all) > 1 {
		all = append(all[:len(all):len(all)], r.Combined)
	}
	for i := range all {
		t := &all[i]
		row := []string{t.Name}
		for _, v := range []float64{t.HOTA, t.DetA, t.AssA, t.LocA, t.IDF1, t.IDP, t.IDR, t.MOTA, t.MOTP} {
			row = append(row, fmt.Sprintf("%.2f", 100*v))
		}
		for _, n := range []int{t.IDSW, t.Frag, t.MT, t.PT, t.ML, t.FP, t.FN} {
			row = append(row, strconv.Itoa(n))
		}
		rows = append(rows, row)
	}
	return table(w, rows, 1)
}
