// A reader of the log that trusts nothing of the hub, made of Tessera's own client: it fetches, checks and proves
// by that library alone, over HTTP or from plain files.
//
//	tessera LOG VKEY   the checkpoint; every leaf, by the proof that the client builds from the tiles; and that
//	                   the log grew from each power of two to what it is. LOG is a folder, or an address, to which
//	                   TOKEN is shown
//
// Exit status 1 and one line on standard error where anything is not as it should be.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"
)

type source interface {
	ReadCheckpoint(ctx context.Context) ([]byte, error)
	ReadTile(ctx context.Context, level, index uint64, width uint8) ([]byte, error)
	ReadEntryBundle(ctx context.Context, index uint64, width uint8) ([]byte, error)
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return errors.New("called wrongly")
	}
	log, err := where(args[0])
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(args[1])
	if err != nil {
		return err
	}
	head, _, _, err := client.FetchCheckpoint(ctx, log.ReadCheckpoint, verifier, verifier.Name())
	if err != nil {
		return err
	}
	builder, err := client.NewProofBuilder(ctx, head.Size, log.ReadTile)
	if err != nil {
		return err
	}
	if err := leaves(ctx, log, builder, head.Size, head.Hash); err != nil {
		return err
	}
	for size := uint64(1); size < head.Size; size *= 2 {
		if err := grown(ctx, log, builder, size, head.Size, head.Hash); err != nil {
			return fmt.Errorf("from %d leaves: %w", size, err)
		}
	}
	fmt.Printf("%d leaves under the checkpoint\n", head.Size)
	return nil
}

func where(log string) (source, error) {
	if !strings.HasPrefix(log, "http://") && !strings.HasPrefix(log, "https://") {
		return client.FileFetcher{Root: log}, nil
	}
	address, err := url.Parse(strings.TrimSuffix(log, "/") + "/")
	if err != nil {
		return nil, err
	}
	fetcher, err := client.NewHTTPFetcher(address, &http.Client{Timeout: 30 * time.Second})
	if err != nil {
		return nil, err
	}
	fetcher.SetAuthorizationHeader("Bearer " + os.Getenv("TOKEN"))
	return fetcher, nil
}

// leaves proves every leaf of the bundles by tiles that the client read itself.
func leaves(ctx context.Context, log source, builder *client.ProofBuilder, size uint64, root []byte) error {
	for start := uint64(0); start < size; start += 256 {
		bundle, err := client.GetEntryBundle(ctx, log.ReadEntryBundle, start/256, size)
		if err != nil {
			return err
		}
		if expected := min(256, size-start); uint64(len(bundle.Entries)) != expected {
			return fmt.Errorf("bundle %d has %d entries, not %d", start/256, len(bundle.Entries), expected)
		}
		for at, entry := range bundle.Entries {
			index := start + uint64(at)
			path, err := builder.InclusionProof(ctx, index)
			if err != nil {
				return err
			}
			leaf := rfc6962.DefaultHasher.HashLeaf(entry)
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf, path, root); err != nil {
				return fmt.Errorf("leaf %d: %w", index, err)
			}
		}
	}
	return nil
}

// grown proves that the first leaves are still the first.
func grown(ctx context.Context, log source, builder *client.ProofBuilder, size, later uint64, root []byte) error {
	var tree []byte
	hashes, err := client.FetchLeafHashes(ctx, log.ReadTile, 0, size, later)
	if err != nil {
		return err
	}
	if tree, err = folded(hashes); err != nil {
		return err
	}
	path, err := builder.ConsistencyProof(ctx, size, later)
	if err != nil {
		return err
	}
	return proof.VerifyConsistency(rfc6962.DefaultHasher, size, later, path, tree, root)
}

// folded is the root over as many leaves as a power of two.
func folded(hashes [][]byte) ([]byte, error) {
	for len(hashes) > 1 {
		if len(hashes)%2 != 0 {
			return nil, errors.New("not a power of two")
		}
		for at := 0; at < len(hashes)/2; at++ {
			hashes[at] = rfc6962.DefaultHasher.HashChildren(hashes[2*at], hashes[2*at+1])
		}
		hashes = hashes[:len(hashes)/2]
	}
	return hashes[0], nil
}
