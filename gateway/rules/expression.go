package rules

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
)

// Expressions of a rules file are CEL (https://cel.dev): always ending, without effects, and bounded here in length, depth and cost.
const (
	maxExpression = 4 << 10 // bytes
	maxDepth      = 50      // of nested operators
	// maxCost is what one evaluation may cost, in CEL's own units: each operator is one, a string a tenth per byte. A unit takes some tens of nanoseconds.
	maxCost = 10_000
)

// expression is one that was compiled. It may be evaluated by several goroutines at once.
type expression struct {
	program cel.Program
	checked *ast.AST
}

// compile takes an expression apart, over variables by name; its value must be of one of the types, or not known before it is evaluated.
func compile(text string, variables map[string]*cel.Type, of ...*cel.Type) (*expression, error) {
	options := []cel.EnvOption{
		cel.OptionalTypes(), ext.Strings(), ext.Sets(), ext.Lists(),
		cel.CrossTypeNumericComparisons(true), cel.ParserExpressionSizeLimit(maxExpression), cel.ParserRecursionLimit(maxDepth),
	}
	for name, t := range variables {
		options = append(options, cel.Variable(name, t))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, err
	}
	tree, issues := env.Compile(text)
	if err = issues.Err(); err != nil {
		return nil, errors.New(firstIssue(issues))
	}
	if err = wantType(tree.OutputType(), of); err != nil {
		return nil, err
	}
	program, err := env.Program(tree, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, err
	}
	return &expression{program: program, checked: tree.NativeRep()}, nil
}

func wantType(got *cel.Type, of []*cel.Type) error {
	if got.Kind() == types.DynKind {
		return nil
	}
	var names []string
	for _, t := range of {
		if t.Kind() == got.Kind() {
			return nil
		}
		names = append(names, t.String())
	}
	return fmt.Errorf("its value is %s, and must be %s", got, strings.Join(names, " or "))
}

// firstIssue is the first thing that is wrong, in one line.
func firstIssue(issues *cel.Issues) string {
	e := issues.Errors()[0]
	text := strings.ReplaceAll(strings.TrimSpace(e.Message), "\n", " ")
	return fmt.Sprintf("%.200s (column %d)", text, e.Location.Column()+1)
}

// Why an evaluation came to nothing. The causes are few and fixed, since CEL's own words may quote what a client sent.
var (
	errNoKey    = errors.New("no such key")
	errOverload = errors.New("an operator cannot take such a value")
	errCost     = errors.New("it costs too much")
	errOther    = errors.New("it failed")
	errValue    = errors.New("its value is of another type")
	errInput    = errors.New("its inputs are no JSON objects")
	errLarge    = errors.New("the params are over 64 KiB")
)

// eval returns the value over variables by name, or one of the errors above.
func (e *expression) eval(over map[string]any) (ref.Val, error) {
	v, _, err := e.program.Eval(over)
	if err == nil {
		return v, nil
	}
	for text, cause := range map[string]error{"no such key": errNoKey, "no such overload": errOverload, "cost limit": errCost} {
		if strings.Contains(err.Error(), text) {
			return nil, cause
		}
	}
	return nil, errOther
}

// keysOf returns which keys of the map that a variable is the expression looks at; whole: perhaps all of them.
func (e *expression) keysOf(variable string) (keys []string, whole bool) {
	seen := map[string]bool{}
	uses := ast.MatchDescendants(ast.NavigateAST(e.checked), func(n ast.NavigableExpr) bool {
		return n.Kind() == ast.IdentKind && n.AsIdent() == variable
	})
	for _, use := range uses {
		key, ok := keyOf(use)
		if !ok {
			return nil, true
		}
		if !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	return keys, false
}

// keyOf returns the key that is looked up in a map where it is used: m.key, has(m.key), m["key"], m.?key or m[?"key"].
func keyOf(use ast.NavigableExpr) (string, bool) {
	parent, ok := use.Parent()
	if !ok {
		return "", false
	}
	switch parent.Kind() {
	case ast.SelectKind:
		return parent.AsSelect().FieldName(), true
	case ast.CallKind:
		call := parent.AsCall()
		args := call.Args()
		switch call.FunctionName() {
		case operators.Index, operators.OptIndex, operators.OptSelect:
			if len(args) == 2 && args[0].ID() == use.ID() && args[1].Kind() == ast.LiteralKind {
				key, isText := args[1].AsLiteral().Value().(string)
				return key, isText
			}
		}
	}
	return "", false
}
