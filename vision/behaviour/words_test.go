package behaviour

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v        float64
		decimals int
		vi, en   string
	}{
		{2.5, -1, "2,5", "2.5"},
		{60, -1, "60", "60"},
		{0.25, -1, "0,25", "0.25"},
		{8.44, 1, "8,4", "8.4"},
		{12, 1, "12,0", "12.0"},
		{86400000, -1, "86400000", "86400000"},
		{-1.5, -1, "-1,5", "-1.5"},
	} {
		assert.Equal(t, c.vi, numberVI(c.v, c.decimals))
		assert.Equal(t, c.en, numberEN(c.v, c.decimals))
	}
}

// TestVietnameseSentencesWriteNumbersWithAComma: no sentence of the program
// formats a number that may have decimals by itself.
func TestVietnameseSentencesWriteNumbersWithAComma(t *testing.T) {
	t.Parallel()
	letters := regexp.MustCompile(`[ăâđêôơưĂÂĐÊÔƠƯ\x{1EA0}-\x{1EF9}áàãảéèẻíìĩỉóòõỏúùũủýỳ]`)
	verbs := regexp.MustCompile(`%[-+ #0-9]*(\.[1-9][0-9]*)?[geEGvF]|%[-+ #0-9]*(\.[1-9][0-9]*)?f`)
	sentences := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && letters.MatchString(lit.Value) {
				sentences++
				assert.NotRegexp(t, verbs, lit.Value, "%s: write the number with numberVI", path)
			}
			return true
		})
		return nil
	})
	require.NoError(t, err)
	assert.Greater(t, sentences, 100, "sentences found")
}
