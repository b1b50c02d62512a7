#!/usr/bin/env bash
# Bundles the page's chart library into vendor.js, from the locked packages.
set -euo pipefail

cd "$(dirname "$0")"
page=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp package.json package-lock.json vendor.src.js "$work"
cd "$work"
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2

license() { # package, its files
  local package=node_modules/$1
  node -p "const p = require('./$package/package.json'); \`\${p.name} \${p.version}, \${p.license}\`"
  for file in "${@:2}"; do
    printf '\n'
    tr -d '\r' <"$package/$file"
  done
}

{
  license echarts NOTICE LICENSE
  printf '\n---\n\n'
  license zrender LICENSE
  printf '\n---\n\n'
  license tslib LICENSE.txt
} >licenses.txt
{
  printf '/*!\n'
  sed -e 's|\*/|* /|g' licenses.txt
  printf '*/\n'
} >banner.txt
npx --no-install esbuild vendor.src.js --bundle --minify --format=iife \
  --target=es2020 --legal-comments=none --charset=utf8 --outfile=bundle.js --log-level=warning
cat banner.txt bundle.js >"$page/vendor.js"
{
  printf 'vendor.js, sha256 %s\n' "$(sha256sum "$page/vendor.js" | cut -d ' ' -f 1)"
  printf 'Bundled by vendor.sh (make page-vendor) from:\n\n'
  cat licenses.txt
} >"$page/vendor.txt"
