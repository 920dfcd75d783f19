// An auditor that trusts nothing of the hub: it reads the log, over HTTP or as plain files, and the proofs that
// it was given, and checks them with libraries that are not the hub's.
//
//	auditor tree LOG VKEY [WITNESS-VKEY]   the checkpoint, and every leaf against it; LOG is a folder, or an
//	                                       address, to which TOKEN is shown
//	auditor proof FILE.statement VKEY      one record
//	auditor cases < CASES                  proofs to be judged, one JSON object a line: "ok" or "refused"
//
// Exit status 1 and one line on standard error where anything is not as it should be.
package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) >= 3 && args[0] == "tree":
		return tree(args[1], args[2], args[3:])
	case len(args) == 3 && args[0] == "proof":
		return record(args[1], args[2])
	case len(args) == 1 && args[0] == "cases":
		return cases()
	}
	return errors.New("called wrongly")
}

// checkpoint opens a note and reads the tree's head from it.
func checkpoint(signed []byte, vkeys ...string) (tlog.Tree, error) {
	var found tlog.Tree
	var list []note.Verifier
	for place, vkey := range vkeys {
		verifier, err := note.NewVerifier(vkey)
		if place > 0 {
			verifier, err = newWitness(vkey)
		}
		if err != nil {
			return found, err
		}
		list = append(list, verifier)
	}
	opened, err := note.Open(signed, note.VerifierList(list...))
	if err != nil {
		return found, err
	}
	if len(opened.Sigs) != len(vkeys) {
		return found, fmt.Errorf("%d of %d keys signed", len(opened.Sigs), len(vkeys))
	}
	lines := strings.SplitN(opened.Text, "\n", 4)
	if len(lines) != 4 || lines[0] != list[0].Name() {
		return found, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return found, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return found, errors.New("not a root")
	}
	copy(found.Hash[:], root)
	found.N = size
	return found, nil
}

// source is where the log's files are, laid out by c2sp.org/tlog-tiles.
type source struct{ log string }

func (s source) read(path string) ([]byte, error) {
	if !strings.HasPrefix(s.log, "http://") && !strings.HasPrefix(s.log, "https://") {
		return os.ReadFile(filepath.Join(s.log, path))
	}
	request, err := http.NewRequest(http.MethodGet, s.log+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, fileBytesMax))
}

const fileBytesMax = 1 << 20

var client = http.Client{Timeout: 30 * time.Second}

func (source) Height() int                     { return 8 }
func (source) SaveTiles([]tlog.Tile, [][]byte) {}
func (s source) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		data, err := s.read(strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		found = append(found, data)
	}
	return found, nil
}

func tree(log, vkey string, witnesses []string) error {
	files := source{log}
	signed, err := files.read("checkpoint")
	if err != nil {
		return err
	}
	head, err := checkpoint(signed, append([]string{vkey}, witnesses...)...)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(head, files)
	for start := int64(0); start < head.N; start += 256 {
		width := min(256, head.N-start)
		tile := tlog.Tile{H: 8, L: 0, N: start / 256, W: int(width)}
		path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
		bundle, err := files.read(path)
		if err != nil {
			return err
		}
		var indexes []int64
		for index := start; index < start+width; index++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, index))
		}
		hashes, err := reader.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for at, hash := range hashes {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return fmt.Errorf("%s is cut short", path)
			}
			size := int(binary.BigEndian.Uint16(bundle))
			if tlog.RecordHash(bundle[2:2+size]) != hash {
				return fmt.Errorf("leaf %d is not under the checkpoint", start+int64(at))
			}
			bundle = bundle[2+size:]
		}
		if len(bundle) != 0 {
			return fmt.Errorf("%s is too long", path)
		}
	}
	fmt.Printf("%d leaves under the checkpoint\n", head.N)
	return nil
}

func record(path, vkey string) error {
	statement, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(strings.TrimSuffix(path, ".statement") + ".tlog-proof")
	if err != nil {
		return err
	}
	said, signed, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(said, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a proof")
	}
	head, err := checkpoint([]byte(signed), vkey)
	if err != nil {
		return err
	}
	salt, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var hashes tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		hashes = append(hashes, hash)
	}
	mac := hmac.New(sha256.New, salt)
	mac.Write(statement)
	if err := tlog.CheckRecord(hashes, head.N, head.Hash, index, tlog.RecordHash(mac.Sum(nil))); err != nil {
		return err
	}
	fmt.Printf("leaf %d of %d\n", index, head.N)
	return nil
}

// cases judges proofs by transparency-dev/merkle.
func cases() error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var one struct {
			Index, Size, Later uint64
			Leaf, Root, After  []byte
			Proof              [][]byte
		}
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return err
		}
		var err error
		if one.Leaf != nil {
			err = proof.VerifyInclusion(rfc6962.DefaultHasher, one.Index, one.Size, one.Leaf, one.Proof, one.Root)
		} else {
			err = proof.VerifyConsistency(rfc6962.DefaultHasher, one.Size, one.Later, one.Proof, one.Root, one.After)
		}
		if err != nil {
			fmt.Println("refused")
		} else {
			fmt.Println("ok")
		}
	}
	return lines.Err()
}

// newWitness verifies cosignatures (c2sp.org/tlog-cosignature), which x/mod does not know itself.
func newWitness(vkey string) (note.Verifier, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("not a key")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 33 || key[0] != 4 {
		return nil, errors.New("not a witness's key")
	}
	id, err := strconv.ParseUint(parts[1], 16, 32)
	if err != nil {
		return nil, err
	}
	return witness{parts[0], uint32(id), key[1:]}, nil
}

type witness struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.id }
func (w witness) Verify(text, signature []byte) bool {
	if len(signature) != 72 {
		return false
	}
	at := binary.BigEndian.Uint64(signature)
	return ed25519.Verify(w.key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text), signature[8:])
}
