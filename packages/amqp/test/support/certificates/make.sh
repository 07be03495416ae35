#!/bin/sh
# Makes the certificates of the TLS tests anew. They are good for a hundred years and for nothing but these tests.
set -eu
cd "$(dirname "$0")"
days=36500

authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days $days -subj "/CN=$1" \
    -keyout "$1-key.pem" -out "$1.pem" 2>/dev/null
}

# name, subject alternative names
certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1-key.pem" -out "$1.csr" 2>/dev/null
  printf 'subjectAltName=%s\n' "$2" > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA authority.pem -CAkey authority-key.pem -CAcreateserial -days $days \
    -extfile "$1.ext" -out "$1.pem" 2>/dev/null
  rm "$1.csr" "$1.ext"
}

authority authority
authority stranger
certificate server DNS:localhost,IP:127.0.0.1
certificate elsewhere DNS:elsewhere.example
certificate client DNS:client
openssl ec -in client-key.pem -aes256 -passout pass:open-sesame -out client-encrypted-key.pem 2>/dev/null
rm -f authority-key.pem authority.srl stranger-key.pem
