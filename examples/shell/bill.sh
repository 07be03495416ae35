# Bills one order: the message comes on standard input, the rest of it in variables.
order=$(cat)
total=$(printf '%s' "$order" | sed 's/.*"total": *\(-\{0,1\}[0-9]*\).*/\1/')
id=$(printf '%s' "$order" | sed 's/.*"id": *\([0-9]*\).*/\1/')
source=$(printf '%s' "$WAKAME_HEADERS" | sed -n 's/.*"source":"\([^"]*\)".*/\1/p')
if [ "$total" -lt 0 ]; then
  echo "order $id: nobody owes $total" >&2
  exit 1
fi
echo "billed $total to order $id ($source)"
