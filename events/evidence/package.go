package evidence

// Names in a package, beside those of the manifest's files.
const (
	manifestName        = "manifest.json"
	signatureName       = "manifest.sig" // 64 bytes, Ed25519 (RFC 8032) of manifest.json
	keyName             = "evidence.pub" // PEM
	keysName            = "keys.json"    // the hand-overs of keys, where there were any
	readmeName          = "README.txt"
	exportName          = "export.json"
	exportSignatureName = "export.sig" // of export.json, by the same key
	viewingPrefix       = "viewing/"   // copies to look at
)
