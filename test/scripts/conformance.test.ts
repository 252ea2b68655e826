/**
 * The conformance script on a miniature tree: what it counts, what it refuses, and which mutants it
 * says survive.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { disableC, disableTypeScript, openProject } from '../../scripts/conformance/disable.js'
import { judgeRow } from '../../scripts/conformance/judge.js'
import { drawRows, seededRandom } from '../../scripts/conformance/mutate.js'
import { isMust, readStandards } from '../../scripts/conformance/standards-table.js'
import { createTapReader } from '../../scripts/conformance/test-outcomes.js'

const root = join(import.meta.dirname, '..', '..', '..')
const script = join(root, 'dist', 'scripts', 'conformance.js')
const head =
  '## First\n\n| id | role | level | requirement | status | source | test |\n|---|---|---|---|---|---|---|\n'

const source = `export function accept(bytes: Uint8Array): boolean {
  if (bytes.length > 4) return false
  if (bytes.length > 1000) return false
  if (bytes.length < 1) return false
  return true
}
`
const test = `import t from 'tap'
import { accept } from '../src/accept.js'

t.test('what is too long is refused', async (t) => {
  t.notOk(accept(new Uint8Array(5)))
  await t.test('and so is nothing', async (t) => {
    t.notOk(accept(new Uint8Array(0)))
  })
})
t.test('a lie', async (t) => t.ok(accept(new Uint8Array(5))))
t.test('for another day', { skip: 'not today' }, async () => {})
`
const length = '`src/accept.ts` `if (bytes.length > 4) return false`'
const named = (name: string) => `\`test/accept.test.ts\` › ${name}`
const rows = {
  proven: `| X-1 | any | M | Long ones are refused | met | ${length} | ${named('what is too long is refused')} |`,
  nested: `| X-2 | any | M | Empty ones are refused | met | \`src/accept.ts\` \`bytes.length < 1\` | ${named('what is too long is refused › and so is nothing')} |`,
  lying: `| X-3 | any | M | Something else | met | ${length} | ${named('a lie')} |`,
  skipped: `| X-4 | any | S | Something new | met | ${length} | ${named('for another day')} |`,
  absent: `| X-5 | any | S | Something old | met | ${length} | ${named('no such test')} |`,
  moved: `| X-6 | any | S | Gone | met | \`src/accept.ts\` \`if (false)\` | ${named('what is too long is refused')} |`,
  idle: `| X-7 | any | MN | Huge ones | met | \`src/accept.ts\` \`if (bytes.length > 1000)\` | ${named('what is too long is refused')} |`,
  besides: '| X-8 | any | M | Elsewhere | not applicable | Only for other machines. | |',
  other: '| X-9 | any | S | Otherwise | deviates | Our choice: it is simpler. | |',
  open: '| X-10 | any | S | Later | missing | | |',
}

/**
 * A program without what the test runner adds to the environment of whatever a test starts: with its
 * loader the compiler cannot be loaded.
 */
function runPlain(program: string, args: readonly string[]) {
  const words = ['-u', 'NODE_OPTIONS', program, ...args]
  const { status, stdout, stderr } = spawnSync('env', words, { encoding: 'utf8' })
  return { status, stdout, stderr }
}

function makeTree(t: Test, lines: readonly string[]): string {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-mini-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const compilerOptions = {
    target: 'ES2023',
    module: 'NodeNext',
    moduleResolution: 'NodeNext',
    types: ['node'],
    rootDir: '.',
    outDir: 'dist',
    skipLibCheck: true,
  }
  const files = {
    'package.json': '{"type": "module"}',
    'tsconfig.json': JSON.stringify({ compilerOptions, include: ['src/*.ts', 'test/*.ts'] }),
    'src/accept.ts': source,
    'test/accept.test.ts': test,
    'docs/standards.md': `# Mini\n\n${head}${lines.join('\n')}\n`,
  }
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), text)
  }
  symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'))
  const built = runPlain(join(root, 'node_modules', '.bin', 'tsc'), ['-p', directory])
  t.equal(built.status, 0, `${built.stdout}${built.stderr}`)
  return directory
}

function run(directory: string, ...args: string[]) {
  const words = [script, '--root', directory, ...args]
  const { status, stdout, stderr } = runPlain(process.execPath, words)
  return { status, stderr, lines: stdout.trimEnd().split('\n') }
}

t.test('a met row counts only while its test passes and its source is there', async (t) => {
  const directory = makeTree(t, Object.values(rows))
  const { status, lines } = run(directory)
  t.equal(status, 1)
  t.equal(lines.at(-1), 'conformance: 3 met, 1 not applicable, 1 deviating, 5 missing of 10')
  const objections = lines.filter((line) => line.startsWith('line '))
  t.match(objections, [
    /X-3: .*a lie: failed/,
    /X-4: .*for another day: skipped/,
    /X-5: .*no such test: did not run/,
    /X-6: src\/accept.ts: the fragment is not there/,
  ])
  t.equal(objections.length, 4)
  const names = run(directory, '--no-run')
  t.equal(names.lines.at(-1), 'conformance: 5 met, 1 not applicable, 1 deviating, 3 missing of 10')
  const { counts } = JSON.parse(run(directory, '--json').lines.join('\n'))
  t.same(counts, { met: 3, 'not applicable': 1, deviates: 1, missing: 5, unproven: 4, of: 10 })
})

t.test('only a whole table of proven rows ends well', async (t) => {
  const directory = makeTree(t, [rows.proven, rows.nested, rows.besides, rows.other])
  const { status, lines } = run(directory)
  t.equal(status, 0)
  t.equal(lines.at(-1), 'conformance: 2 met, 1 not applicable, 1 deviating, 0 missing of 4')
})

t.test('a mutant that no test notices is told, and the tree stays as it was', async (t) => {
  const directory = makeTree(t, [rows.proven, rows.nested, rows.idle])
  const { status, lines } = run(directory, '--mutate')
  t.equal(status, 1)
  t.match(lines, [/^noticed +X-1 /, /^noticed +X-2 /, /^survived +X-7 /])
  t.equal(lines.at(-1), 'mutation: 2 of 3 noticed (seed 1)')
  t.equal(readFileSync(join(directory, 'src/accept.ts'), 'utf8'), source)
  t.equal(run(directory, '--mutate', '--id', 'X-1,X-2').status, 0)
})

t.test('what is no row is refused with its line', async (t) => {
  const { rows: read, errors } = readStandards(
    [
      '# Title',
      head.trimEnd(),
      rows.proven,
      rows.proven,
      '| X-20 | any | M | Text | perhaps | | |',
      '| X-21 | any | M | Text | met | somewhere | `a.ts` › b |',
      '| X-22 | any | M | Text | met | `a.ts` `b` | nothing |',
      '| X-23 | any | M | Text | deviates | | |',
      '| X-24 | any | M | Text | missing | `a.ts` `b` | |',
      '| X-25 | any | M | Text | missing | |',
      '| X-26 | any | M | Text | met | `a.ts` `x \\| y`; `b.c` `` `c` `` | `d.ts` › e |',
    ].join('\n'),
  )
  t.match(errors, [
    /^7: X-1 is already in line 6/,
    /^8: X-20: unknown status 'perhaps'/,
    /^9: X-21: met, but the source/,
    /^10: X-22: met, but the test/,
    /^11: X-23: deviates without a reason/,
    /^12: X-24: missing, but names/,
    /^13: 6 columns/,
  ])
  t.equal(errors.length, 7)
  t.same(read.at(-1)?.sources, [
    { file: 'a.ts', fragment: 'x | y' },
    { file: 'b.c', fragment: '`c`' },
  ])
})

t.test(
  'the table of this repository has every requirement, and what it names is there',
  async (t) => {
    const { rows, errors } = readStandards(readFileSync(join(root, 'docs/standards.md'), 'utf8'))
    t.same(errors, [])
    t.equal(rows.length, 308)
    for (const row of rows) {
      const { objection } = judgeRow(root, row, undefined)
      t.equal(objection, undefined, `${row.id}: ${objection ?? 'fragment and test are there'}`)
    }
  },
)

t.test('TAP is read by names, whatever stands between', async (t) => {
  const reader = createTapReader()
  const text = [
    'TAP version 14',
    '# Subtest: parent \\# one',
    '    ok 1 - parent \\# one',
    '    # Subtest: child',
    '        not ok 1 - should be equal',
    '          ---',
    '          diff: |',
    '            ok 1 - child',
    '          ...',
    '        1..1',
    '    not ok 2 - child # time=3ms',
    '    ok 3 - later # SKIP no root',
    'not ok 1 - parent \\# one # time=4ms',
    '# Subtest: never ends',
  ]
  for (const line of text) reader.line(line)
  t.same(
    [...reader.tests],
    [
      ['parent # one › child', 'failed'],
      ['parent # one › later', 'skipped'],
      ['parent # one', 'failed'],
    ],
  )
})

t.test('each kind of statement is disabled in its own way', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-mini-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const text = `const LIMIT = 4_000
const flags = { probe: true, ttl: LIMIT }
function f(a: boolean, b: boolean, list: { up: boolean }[]): number {
  if (a && b) return 1
  if (a || !b) list.pop()
  const up = list.filter((one) => one.up)
  return up.length
}
f(true, flags.probe, [])
`
  writeFileSync(join(directory, 'x.ts'), text)
  writeFileSync(join(directory, 'tsconfig.json'), '{"include": ["x.ts"]}')
  const project = openProject(directory)
  t.teardown(() => project.close())
  const file = project.read('x.ts')
  if (!file) throw new Error('not read')
  const expectations: readonly (readonly [string, string])[] = [
    ['LIMIT = 4_000', 'const LIMIT = 0\n'],
    ['probe: true', '{ probe: false, ttl'],
    ['if (a && b)', 'if (false as boolean) return 1'],
    ['return 1', 'if (a && b) return undefined as never'],
    ['a &&', 'if (false as boolean) return 1'],
    ['!b', 'if (a || false) list.pop()'],
    ['list.pop()', 'if (a || !b) ;'],
    ['one.up', '=> true)'],
    ['f(true, flags.probe, [])', '}\n;\n'],
    ['LIMIT = 4_000 … LIMIT', 'ttl: (undefined as never)'],
  ]
  for (const [fragment, expected] of expectations) {
    const disabled = disableTypeScript(file, fragment)
    t.ok(typeof disabled !== 'string' && disabled.text.includes(expected), fragment)
  }
  t.match(disableTypeScript(file, 'return'), /more than once/)
  t.match(disableTypeScript(file, 'nowhere'), /not there/)
})

t.test('C is disabled outside its comments and strings', async (t) => {
  const text = `#define LIMIT 16
static int f(int a, char *b)
{
  /* if (a) { */
  if (a > LIMIT &&
      b[0] == ')')
    return -1;
  b[1] = '}';
  return a;
}
`
  const expectations: readonly (readonly [string, string])[] = [
    ['a > LIMIT', 'if (0)\n    return -1;'],
    ['a > LIMIT &&', "if ((1 || a > LIMIT) &&\n      b[0] == ')')"],
    ['b[1] =', 'return -1;\n  ;\n'],
    ['#define LIMIT 16', '#define LIMIT 0\n'],
  ]
  for (const [fragment, expected] of expectations) {
    const disabled = disableC(text, fragment)
    t.ok(typeof disabled !== 'string' && disabled.text.includes(expected), fragment)
  }
})

t.test('a seed draws the same rows again, in the order of the table', async (t) => {
  const { rows: all } = readStandards(`${head}${Object.values(rows).join('\n')}`)
  const musts = all.filter(isMust)
  t.same(
    musts.map((row) => row.id),
    ['X-1', 'X-2', 'X-3', 'X-7', 'X-8'],
  )
  const draw = (seed: number) => drawRows(musts, 3, seededRandom(seed)).map((row) => row.id)
  t.same(draw(5), draw(5))
  t.equal(new Set([1, 2, 3, 4, 5].map((seed) => draw(seed).join())).size > 1, true)
  t.equal(drawRows(musts, 99, seededRandom(1)).length, 5)
})
