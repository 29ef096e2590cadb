//go:build cgo

package main

// nativeCode says whether decoding and inference are built in.
const nativeCode = true
