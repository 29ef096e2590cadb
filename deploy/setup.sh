#!/usr/bin/env bash
#
# setup.sh installs what xacam needs on Debian 12: Debian packages, the ONNX
# Runtime library and, for lint only, golangci-lint.
#
#   deploy/setup.sh run        what `make build` and `make run` need
#   deploy/setup.sh test       the same, and what `make test` needs
#   deploy/setup.sh lint       the same as run, and golangci-lint
#   deploy/setup.sh --list     print the Debian packages by group, install nothing
#
# Several words may be given at once. It says what it is going to install before
# it does so, checks every download, and does nothing where nothing is missing.
# Packages need root or sudo; everything else goes below .cache in this folder.
#
#   XACAM_ORT_LIBRARY   an ONNX Runtime library that is already installed
#   ORT_ARCHIVE         a release archive or npm package that is already on disk
#   ORT_ARCHIVE_SHA256  accept the ORT_ARCHIVE with this checksum as well
#
# Go, npm and apt are used as they are configured on this machine.

set -euo pipefail

ort_version=1.30.0
ort_npm=onnxruntime-node@$ort_version
ort_npm_sha512=b7086cd42d82fc1164cf5c9ce4e634288536194aba0d444eee10f86f1e50d90cb79c0309c115d6f31537355733136f5503d96894b3987a9a03f1f8d318e7c8ab
ort_release=https://github.com/microsoft/onnxruntime/releases/download/v$ort_version

golangci_lint=github.com/golangci/golangci-lint/v2/cmd/golangci-lint
golangci_lint_version=v2.12.2

packages_build=(
	make g++ pkg-config ca-certificates
	libopencv-dev
	libavcodec-dev libavdevice-dev libavfilter-dev libavformat-dev libavutil-dev
	libpostproc-dev libswresample-dev libswscale-dev
)
packages_run=(ffmpeg curl postgresql-common postgresql-15)
packages_test=(
	gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
	gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
	gir1.2-gst-rtsp-server-1.0 python3-gi libxml2-utils openssl php-cli
)

say() { printf 'setup: %s\n' "$*"; }

die() {
	printf 'setup: %s\n' "$*" >&2
	exit 1
}

# as_root runs a command as root, by sudo where this user is not root.
as_root() {
	if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# missing prints those of the given packages that are not installed.
missing() {
	local name have
	have=$(dpkg-query -W -f '${db:Status-Status} ${Package} \n' "$@" 2>/dev/null | sed -n 's/^installed / /p' || true)
	for name in "$@"; do
		[[ $have == *" $name "* ]] || printf '%s\n' "$name"
	done
}

# install_packages installs the packages given that are missing. PostgreSQL is
# installed for its programs only: Debian's own cluster, which would hold the
# port and memory, is not created, and the setting for that is put back.
install_packages() {
	command -v dpkg-query >/dev/null ||
		die "this is not a Debian system; install the packages that 'deploy/setup.sh --list' names in your distribution's way"
	local -a need
	mapfile -t need < <(missing "$@")
	((${#need[@]})) || return 0

	say "installing ${#need[@]} Debian packages and what they depend on: ${need[*]}"
	if ((EUID != 0)) && ! command -v sudo >/dev/null; then
		die "installing packages needs root and there is no sudo; run as root: apt-get install --no-install-recommends ${need[*]}"
	fi
	((EUID == 0)) || sudo -v ||
		die "installing packages needs root and sudo refused; run as root: apt-get install --no-install-recommends ${need[*]}"
	apt_get update ||
		die "apt-get update did not succeed; see its message above, mend the network or the sources list, and run this again"
	if [[ " ${need[*]} " == *" postgresql-15 "* ]]; then
		apt_get install postgresql-common ||
			die "apt-get could not install postgresql-common; see its message above, then run this again"
		keep_cluster_away
	fi
	apt_get install "${need[@]}" ||
		die "apt-get could not install the packages; see its message above (xacam is made for Debian 12), then run this again"
	bring_cluster_setting_back
	mapfile -t need < <(missing "$@")
	((${#need[@]} == 0)) || die "still missing after the installation: ${need[*]}"
}

apt_get() {
	local verb=$1
	shift
	local -a options=(-q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
	[[ $verb == install ]] && options+=(--no-install-recommends)
	as_root env DEBIAN_FRONTEND=noninteractive apt-get "$verb" "${options[@]}" "$@" </dev/null
}

cluster_conf=/etc/postgresql-common/createcluster.conf
cluster_copy=

keep_cluster_away() {
	[[ -f $cluster_conf ]] || return 0
	grep -Eq '^[[:space:]]*create_main_cluster' "$cluster_conf" && return 0
	say "PostgreSQL: programs only; Debian's own cluster is not created"
	cluster_copy=$cluster_conf.before-xacam
	as_root cp -p "$cluster_conf" "$cluster_copy"
	as_root sh -c "printf 'create_main_cluster = false\n' >>$cluster_conf"
}

bring_cluster_setting_back() {
	[[ -n $cluster_copy ]] || return 0
	as_root mv -f "$cluster_copy" "$cluster_conf"
	cluster_copy=
}

# check_go fails unless a Go compiler that can build this module is on the PATH.
check_go() {
	command -v go >/dev/null ||
		die "there is no 'go' on the PATH; install Go $(go_wanted) or newer (https://go.dev/dl) and run this again"
	go env GOVERSION >/dev/null 2>&1 ||
		die "$(GOTOOLCHAIN=local go version 2>/dev/null || echo 'this Go') cannot build xacam; install Go $(go_wanted) or newer (https://go.dev/dl) and run this again"
}

go_wanted() { sed -n 's/^go //p' go.mod; }

sum256() { sha256sum "$1" | cut -d' ' -f1; }

# install_ort puts libonnxruntime.so below .cache/ort, from the archive given,
# the npm package or the release archive, whichever works first.
install_ort() {
	local folder=.cache/ort
	if [[ -n ${XACAM_ORT_LIBRARY:-} && $XACAM_ORT_LIBRARY != "$PWD/$folder/libonnxruntime.so" ]]; then
		[[ -r $XACAM_ORT_LIBRARY ]] ||
			die "XACAM_ORT_LIBRARY names $XACAM_ORT_LIBRARY, which cannot be read; correct it or unset it to have ONNX Runtime $ort_version installed"
		return 0
	fi
	local arch npm_member npm_sum tgz_sum
	case $(uname -m) in
	x86_64)
		arch=x64
		npm_member=package/bin/napi-v6/linux/x64/libonnxruntime.so.1
		npm_sum=ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23
		tgz_sum=a5ed5a3cac51fbb2e90da632ae43d19212faaa20e76484e62bcb7c23ddb3b3fd
		;;
	aarch64)
		arch=aarch64
		npm_member=package/bin/napi-v6/linux/arm64/libonnxruntime.so.1
		npm_sum=1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76
		tgz_sum=e16a27a8ed330bbc698df7330b0cf56e722f354e3bcc92118682c74ef3c3e3da
		;;
	*) die "ONNX Runtime has no library for $(uname -m); build it yourself and set XACAM_ORT_LIBRARY to its path" ;;
	esac
	if [[ -s $folder/libonnxruntime.so ]]; then
		local sum
		sum=$(sum256 "$folder/libonnxruntime.so")
		[[ $sum == "$npm_sum" || $sum == "$(cat "$folder/sha256" 2>/dev/null)" ]] && return 0
	fi

	[[ $arch == x64 ]] || say "warning: xacam has not been tested on $(uname -m)"
	mkdir -p "$folder"
	work=$(mktemp -d "$folder/fetch.XXXXXX")
	local tgz_member=onnxruntime-linux-$arch-$ort_version/lib/libonnxruntime.so.$ort_version
	if [[ -n ${ORT_ARCHIVE:-} ]]; then
		ort_from_file
	else
		say "installing ONNX Runtime $ort_version (45 MB) as $folder/libonnxruntime.so"
		ort_from_npm || ort_from_release ||
			die "ONNX Runtime could not be had from npm or from the release page; fetch $ort_release/onnxruntime-linux-$arch-$ort_version.tgz elsewhere and set ORT_ARCHIVE to its path, or set XACAM_ORT_LIBRARY to an installed library"
	fi
	sum256 "$work/libonnxruntime.so" >"$work/sha256"
	mv -f "$work/libonnxruntime.so" "$work/sha256" "$folder/"
	rm -rf "$work"
	work=
	say "ONNX Runtime $ort_version is in place"
}

# unpack ARCHIVE MEMBER writes one member of an archive as the library.
unpack() {
	tar -xzOf "$1" "$2" >"$work/libonnxruntime.so" 2>/dev/null ||
		die "$1 has no readable $2; fetch the archive again"
}

# check_npm_library holds the unpacked library to its own pinned checksum.
check_npm_library() {
	[[ $(sum256 "$work/libonnxruntime.so") == "$npm_sum" ]] ||
		die "the library inside $ort_npm has an unexpected checksum; nothing was installed"
}

ort_from_file() {
	[[ -r $ORT_ARCHIVE ]] || die "ORT_ARCHIVE names $ORT_ARCHIVE, which cannot be read; correct it or unset it"
	say "installing ONNX Runtime $ort_version from $ORT_ARCHIVE"
	if [[ $(sha512sum "$ORT_ARCHIVE" | cut -d' ' -f1) == "$ort_npm_sha512" ]]; then
		unpack "$ORT_ARCHIVE" "$npm_member"
		check_npm_library
		return
	fi
	local sum
	sum=$(sum256 "$ORT_ARCHIVE")
	[[ $sum == "$tgz_sum" || $sum == "${ORT_ARCHIVE_SHA256:-}" ]] ||
		die "$ORT_ARCHIVE is neither $ort_npm nor the $ort_version release archive for $arch (sha256 $sum); fetch it again, or set ORT_ARCHIVE_SHA256 to that value if you trust the file"
	unpack "$ORT_ARCHIVE" "$tgz_member"
}

ort_from_npm() {
	command -v npm >/dev/null || {
		say "there is no npm; taking the release archive instead"
		return 1
	}
	say "fetching the npm package $ort_npm (114 MB)"
	npm pack --ignore-scripts --loglevel=error --pack-destination "$work" "$ort_npm" >"$work/npm.log" 2>&1 </dev/null || {
		say "npm could not fetch it ($(sed -n 's/^npm \(error\|ERR!\) \(request\|[0-9]\)/\2/p' "$work/npm.log" | head -1)); taking the release archive instead"
		return 1
	}
	local -a tarball=("$work"/onnxruntime-node-*.tgz)
	[[ $(sha512sum "${tarball[0]}" | cut -d' ' -f1) == "$ort_npm_sha512" ]] ||
		die "the npm package $ort_npm has an unexpected checksum: the registry or the connection is not to be trusted; nothing was installed"
	unpack "${tarball[0]}" "$npm_member"
	check_npm_library
}

ort_from_release() {
	local url=$ort_release/onnxruntime-linux-$arch-$ort_version.tgz
	say "fetching $url (11 MB)"
	curl -fsSL --retry 3 --connect-timeout 15 -o "$work/ort.tgz" "$url" || return 1
	[[ $(sum256 "$work/ort.tgz") == "$tgz_sum" ]] ||
		die "the release archive has an unexpected checksum: the connection is not to be trusted; nothing was installed"
	unpack "$work/ort.tgz" "$tgz_member"
}

# install_node_libraries puts the libraries that webhooks are checked with, at the
# versions and checksums of the lock file, below .cache/receivers. Without npm
# those tests are skipped and say so.
install_node_libraries() {
	local from=deploy/receivers/node folder=.cache/receivers
	cmp -s "$from/package-lock.json" "$folder/installed.json" && return 0
	command -v npm >/dev/null || {
		say "there is no npm; webhooks are not checked with the libraries of Node"
		return 0
	}
	mkdir -p "$folder"
	cp "$from/package.json" "$from/package-lock.json" "$folder/"
	say "fetching the npm packages standardwebhooks and cloudevents"
	npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error >"$folder/npm.log" 2>&1 </dev/null || {
		say "npm could not fetch them (see $folder/npm.log); webhooks are not checked with them"
		return 0
	}
	cp "$from/package-lock.json" "$folder/installed.json"
}

# install_golangci_lint builds the pinned linter with this machine's Go.
install_golangci_lint() {
	local bin=$PWD/.cache/bin
	if [[ -x $bin/golangci-lint ]]; then
		local built
		built=$(go version -m "$bin/golangci-lint" 2>/dev/null | awk '$1 == "mod" { print $3 }')
		[[ $built == "$golangci_lint_version" ]] && return 0
	fi
	say "building golangci-lint $golangci_lint_version in .cache/bin (a few minutes, once)"
	mkdir -p "$bin"
	GOBIN=$bin GOFLAGS='' go install "$golangci_lint@$golangci_lint_version" ||
		die "golangci-lint $golangci_lint_version could not be built; see Go's message above, check GOPROXY ($(go env GOPROXY)) and run this again"
}

cleanup() {
	local code=$?
	bring_cluster_setting_back || true
	[[ -z ${work:-} ]] || rm -rf "$work"
	exit "$code"
}

main() {
	cd "$(dirname "${BASH_SOURCE[0]}")/.."
	local -a packages=("${packages_build[@]}" "${packages_run[@]}")
	local lint='' test=''
	(($#)) || set -- help
	for word in "$@"; do
		case $word in
		run) ;;
		test)
			packages+=("${packages_test[@]}")
			test=1
			;;
		lint) lint=1 ;;
		--list)
			printf 'build: %s\nrun: %s\ntest: %s\n' "${packages_build[*]}" "${packages_run[*]}" "${packages_test[*]}"
			return
			;;
		*)
			sed -n 's/^#   deploy/usage: deploy/p' "${BASH_SOURCE[0]}" >&2
			exit 2
			;;
		esac
	done
	mkdir -p .cache || die "cannot write in $PWD; clone the repository where you may write"
	exec 9>.cache/setup.lock
	flock 9
	trap cleanup EXIT
	install_packages "${packages[@]}"
	check_go
	install_ort
	[[ -z $test ]] || install_node_libraries
	[[ -z $lint ]] || install_golangci_lint
}

main "$@"
