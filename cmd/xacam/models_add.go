package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision/family"
	"github.com/xacam/xacam/vision/ort"
	"github.com/xacam/xacam/vision/second"
)

// addOptions are the flags of "models add": what the file does not say.
type addOptions struct {
	name, labels, family, size, licence string
	channels, letterbox, description    string
	manifest                            string
	write                               bool
}

func newModelsAddCommand(data *string) *cobra.Command {
	var o addOptions
	cmd := &cobra.Command{
		Use:   "add FILE [--name N] [--labels F] [--manifest M] [--write]",
		Short: "Look into an ONNX file, propose its manifest, and with --write add it to the models",
		Long: "Looks into an ONNX file, runs it once on an empty picture and proposes its manifest on standard output;\n" +
			"what it guessed or cannot know is said on standard error. Give it in flags, or correct the manifest in a\n" +
			"file and give that with --manifest. With --write the file and its manifest are added to the data folder.",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return addModel(cmd, *data, args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "name of the model; that of the file when not given")
	f.StringVar(&o.labels, "labels", "", "file with one class name a line, or coco")
	f.StringVar(&o.family, "family", "", "one of "+strings.Join(family.Names(), ", ")+", or "+second.FamilyEmbedding)
	f.StringVar(&o.size, "size", "", "width and height of the input in pixels, where the file leaves them open: 640 or 640x480")
	f.StringVar(&o.licence, "licence", "", "SPDX identifier, such as Apache-2.0")
	f.StringVar(&o.channels, "channels", "", "order of the colours, rgb or bgr")
	f.StringVar(&o.letterbox, "letterbox", "", "where the picture lies in the input: top_left, center or stretch")
	f.StringVar(&o.description, "description", "", "one sentence for the list of models")
	f.StringVar(&o.manifest, "manifest", "", "use this manifest instead of a proposal")
	f.BoolVar(&o.write, "write", false, "add the model to the data folder")
	return cmd
}

// addModel proposes a manifest, tries it and, if asked to, adds the model.
func addModel(cmd *cobra.Command, data, file string, o addOptions) (err error) {
	cat, err := openCatalogue(data)
	if cat == nil {
		return err // the built-in catalogue; a user's broken manifest is no obstacle
	}
	lib, err := ort.FindLibrary("", data, checkoutRuntime)
	if err != nil {
		return err
	}
	rt, err := ort.Init(lib)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rt.Close()) }()
	var d draft
	if o.manifest != "" {
		d, err = givenManifest(rt, file, o)
	} else {
		d, err = propose(rt, file, o)
	}
	if err != nil {
		return err
	}
	if err := cat.Free(d.manifest); err != nil {
		return usagef("%w; choose another with --name", err)
	}
	// The families' decoders are the judges: shapes, classes, numbers.
	if err := judge(rt, d.manifest, file); err != nil {
		return err
	}
	if err := d.print(cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
		return err
	}
	return d.finish(cmd, cat, data, file, o.write)
}

// draft is a manifest with what is to be said about it.
type draft struct {
	manifest models.Manifest
	notes    []string // what was guessed
	missing  []string // what must be known before the model can be added
}

// print writes the manifest to out and the notes to w.
func (d *draft) print(out, w io.Writer) error {
	text, err := d.manifest.YAML()
	if err != nil {
		return err
	}
	if _, err := out.Write(text); err != nil {
		return err
	}
	for _, n := range d.notes {
		fmt.Fprintln(w, "check:", n)
	}
	for _, n := range d.missing {
		fmt.Fprintln(w, "missing:", n)
	}
	return nil
}

// finish adds the model, or says how.
func (d *draft) finish(cmd *cobra.Command, cat *models.Catalogue, data, file string, write bool) error {
	w := cmd.ErrOrStderr()
	switch {
	case write && len(d.missing) > 0:
		return usagef("%s was not added: %s", d.manifest.Name, strings.Join(d.missing, "; "))
	case !write:
		fmt.Fprintln(w, "The model loads and its output fits. Nothing was added: do that with --write, after the points above; then", tryIt(d.manifest))
		return nil
	}
	if err := makeDataDir(data); err != nil {
		return err
	}
	if err := cat.Add(d.manifest, file); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: added; %s\n", d.manifest.Name, tryIt(d.manifest))
	return nil
}
