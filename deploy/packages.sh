#!/usr/bin/env bash
#
# packages.sh prints Go packages of this module, one on a line:
#
#   native   whose code or tests reach one of the three modules with C code
#   pixels   that move many pixels in one goroutine
#   pure     all the others
#   fuzz     that have a fuzz target
#   bench    that have a benchmark

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

c_modules='^(gocv\.io/x/gocv|github\.com/yalue/onnxruntime_go|github\.com/asticode/go-astiav)$'

# native lists each package whose own or test dependencies match c_modules. For
# "pkg.test" and "pkg_test [pkg.test]" go list names the package in ForTest.
native() {
	# shellcheck disable=SC2016 # the dollars are the template's
	CGO_ENABLED=1 go list -test -f '{{$p := .ImportPath}}{{with .ForTest}}{{$p = .}}{{end}}{{range .Deps}}{{$p}} {{.}}
{{end}}' ./... | awk -v c="$c_modules" '$NF ~ c { sub(/\.test$/, "", $1); print $1 }' | sort -u
}

# pixels lists packages in whose tests the race detector takes minutes and has
# nothing to find.
pixels() { go list ./vision/still ./vision/tamper; }

# with_func lists each folder with a test function whose name has the prefix.
with_func() {
	grep -rlE --include='*_test.go' --exclude-dir=.cache "^func $1[A-Z]" . | xargs -r -n1 dirname | sort -u
}

case ${1:-} in
native) native ;;
pure)
	all=$(go list ./... | sort -u)
	c=$(native)
	comm -13 <(sort -u <(echo "$c") <(pixels)) <(echo "$all")
	;;
pixels) pixels ;;
fuzz) with_func Fuzz ;;
bench) with_func Benchmark ;;
*)
	echo 'usage: deploy/packages.sh native|pixels|pure|fuzz|bench' >&2
	exit 2
	;;
esac
