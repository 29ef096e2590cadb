//go:build cgo && matprofile

package prep_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"gocv.io/x/gocv"
)

// TestMain fails when a test leaves native memory behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if n := gocv.MatProfile.Count(); n != 0 {
		var b bytes.Buffer
		_ = gocv.MatProfile.WriteTo(&b, 1)
		fmt.Fprintf(os.Stderr, "%d Mats were not closed:\n%s", n, b.String())
		code = 1
	}
	os.Exit(code) //nolint:forbidigo // a TestMain ends the process
}
