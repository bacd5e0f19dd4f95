#!/bin/sh
# Installs the system packages that are missing, where that is allowed, or prints the command.
missing=
command -v pkg-config > /dev/null || missing="$missing pkg-config"
for p in jansson:libjansson-dev libutf8proc:libutf8proc-dev yaml-0.1:libyaml-dev zlib:zlib1g-dev libzstd:libzstd-dev openblas:libopenblas-dev; do
    pkg-config --exists "${p%%:*}" 2> /dev/null || missing="$missing ${p##*:}"
done
command -v cc > /dev/null || missing="$missing gcc"
command -v "${CXX:-g++}" > /dev/null || missing="$missing g++"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2> /dev/null; then sudo=sudo; else
    echo "missing packages; run: sudo apt-get install$missing"
    exit 1
fi
$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq $missing
