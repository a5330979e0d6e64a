package endpoint

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/weir-capture/weir/internal/vfs"
)

// Bounds of what is learnt.
const (
	// maxValues is how many names may stand at one place of the paths of an app
	// and method; when there are more they are values, and become one
	// placeholder.
	maxValues = 100
	// maxNodes bounds the places of one app and method, maxTrees these.
	maxNodes = 5_000
	maxTrees = 2_000
)

// Request is what decides about a template.
type Request struct {
	App, Method, Path string
	// NotFound: the answer was 404. Such paths are of nobody's making, and
	// learnt apart, so that they fold no endpoints that there are.
	NotFound bool
}

// Templates learns which places of paths have values, and applies rules. It is
// safe for concurrent use.
//
// A place is folded when its values in all requests that were learnt are more
// than maxValues. That depends on which requests there were, not on their
// order, so that whoever learns the same requests again gets the same
// templates; what retention has removed meanwhile is made up for by keeping the
// Folds.
type Templates struct {
	mu    sync.RWMutex
	rules []Rule
	trees map[treeKey]*tree
	folds []Fold
	// version grows whenever templates that were given before may be others.
	version uint64
	// dir is where folds are kept, nil for nowhere, and saved how many are.
	dir   vfs.FS
	saved int
}

type treeKey struct {
	app, method string
	notFound    bool
}

type tree struct {
	root  node
	nodes int
}

type node struct {
	children map[string]*node
	folded   bool
}

// Fold is a place whose values are one placeholder.
type Fold struct {
	App, Method string
	NotFound    bool
	// Prefix is the template up to the place, with a slash at its end.
	Prefix string
}

// NewTemplates knows what was folded before.
func NewTemplates(folds []Fold) *Templates {
	t := &Templates{trees: map[treeKey]*tree{}}
	for _, f := range folds {
		tr := t.tree(treeKey{f.App, f.Method, f.NotFound})
		if tr == nil {
			break
		}
		n := &tr.root
		for place, rest := "", strings.TrimPrefix(f.Prefix, "/"); rest != ""; {
			place, rest, _ = strings.Cut(rest, "/")
			if n.folded && place != "" {
				place = placeholder
			}
			n = n.child(tr, place)
		}
		if !n.folded {
			n.fold(tr)
			t.folds = append(t.folds, f)
		}
	}
	return t
}

// SetRules puts other rules in place. Templates that were given before stay
// with those who have them.
func (t *Templates) SetRules(rules []Rule) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rules = rules
	t.version++
}

// Version changes whenever a template that Of gave before may be another now.
func (t *Templates) Version() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.version
}

// Folds are all places that are folded. The caller owns the slice.
func (t *Templates) Folds() []Fold {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clone(t.folds)
}

// Of is the template of a request, by what was learnt so far. Of a template it
// is that template, or what has become of it.
func (t *Templates) Of(r Request) string {
	if t == nil {
		return Of(r.Path)
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i := range t.rules {
		if t.rules[i].fits(r.App, r.Path) {
			return t.rules[i].Template
		}
	}
	path := Of(r.Path)
	tr := t.trees[treeKey{r.App, r.Method, r.NotFound}]
	if tr == nil || !strings.HasPrefix(path, "/") {
		return path
	}
	parts := segments(path)
	n := &tr.root
	for i, s := range parts {
		if n.folded && s != "" {
			parts[i], s = placeholder, placeholder
		}
		if n = n.children[s]; n == nil {
			break
		}
	}
	return "/" + strings.Join(parts, "/")
}

// Learn takes a request into account and gives the places that are folded from
// now on: templates below them have changed.
func (t *Templates) Learn(r Request) []Fold {
	path := Of(r.Path)
	if !strings.HasPrefix(path, "/") {
		return nil
	}
	key := treeKey{r.App, r.Method, r.NotFound}
	if t.knows(key, path) {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.rules {
		if t.rules[i].fits(r.App, r.Path) {
			return nil
		}
	}
	tr := t.tree(key)
	if tr == nil {
		return nil
	}
	before := len(t.folds)
	n, prefix := &tr.root, "/"
	for _, s := range segments(path) {
		if n.folded && s != "" {
			s = placeholder
		}
		if n.children[s] == nil && !n.folded && s != "" && s != placeholder && (n.values() >= maxValues || tr.nodes >= maxNodes) {
			n.fold(tr)
			t.folds = append(t.folds, Fold{App: key.app, Method: key.method, NotFound: key.notFound, Prefix: prefix})
			s = placeholder
		}
		n = n.child(tr, s)
		prefix += s + "/"
	}
	// What was joined may have too many values in its turn.
	t.settle(key, tr, &tr.root, "/", before)
	if len(t.folds) > before {
		t.version++
	}
	return slices.Clone(t.folds[before:])
}

// knows reports, with little ado, that there is nothing to learn: most requests
// are to endpoints that were seen before.
func (t *Templates) knows(key treeKey, path string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	tr := t.trees[key]
	if tr == nil {
		return false
	}
	n := &tr.root
	for rest, more := path[1:], true; more; {
		var s string
		s, rest, more = strings.Cut(rest, "/")
		if n.folded && s != "" {
			s = placeholder
		}
		if n = n.children[s]; n == nil {
			return false
		}
	}
	return true
}

// settle folds what has become too wide by folding others.
func (t *Templates) settle(key treeKey, tr *tree, n *node, prefix string, before int) {
	if len(t.folds) == before {
		return
	}
	if !n.folded && n.values() > maxValues {
		n.fold(tr)
		t.folds = append(t.folds, Fold{App: key.app, Method: key.method, NotFound: key.notFound, Prefix: prefix})
	}
	for s, c := range n.children {
		t.settle(key, tr, c, prefix+s+"/", before)
	}
}

// tree is that of a key, nil when there are too many.
func (t *Templates) tree(key treeKey) *tree {
	tr := t.trees[key]
	if tr == nil && len(t.trees) < maxTrees {
		tr = new(tree)
		t.trees[key] = tr
	}
	return tr
}

func segments(path string) []string { return strings.Split(strings.TrimPrefix(path, "/"), "/") }

// values is how many names stand at the place.
func (n *node) values() int {
	v := len(n.children)
	for _, s := range []string{"", placeholder} {
		if n.children[s] != nil {
			v--
		}
	}
	return v
}

func (n *node) child(tr *tree, s string) *node {
	c := n.children[s]
	if c == nil {
		if n.children == nil {
			n.children = map[string]*node{}
		}
		c = new(node)
		n.children[s] = c
		tr.nodes++
	}
	return c
}

// fold joins the children but the empty one, which is a slash at the end.
func (n *node) fold(tr *tree) {
	n.folded = true
	all := n.child(tr, placeholder)
	for s, c := range n.children {
		if s != "" && c != all {
			delete(n.children, s)
			tr.nodes--
			all.join(tr, c)
		}
	}
}

func (n *node) join(tr *tree, o *node) {
	n.folded = n.folded || o.folded
	for s, c := range o.children {
		tr.nodes--
		n.child(tr, s).join(tr, c)
	}
	if n.folded {
		n.fold(tr)
	}
}

// String is one line of a file, as ParseFold reads it.
func (f Fold) String() string {
	kind := "found"
	if f.NotFound {
		kind = "missing"
	}
	return fmt.Sprintf("%q %q %s %q", f.App, f.Method, kind, f.Prefix)
}

// ParseFold reads a line.
func ParseFold(line string) (Fold, error) {
	var f Fold
	var kind string
	if n, err := fmt.Sscanf(line, "%q %q %s %q", &f.App, &f.Method, &kind, &f.Prefix); err != nil {
		return f, fmt.Errorf("read word %d: %w", n+1, err)
	}
	if f.NotFound = kind == "missing"; !f.NotFound && kind != "found" || !strings.HasPrefix(f.Prefix, "/") {
		return f, fmt.Errorf("%q is no place", line)
	}
	return f, nil
}
