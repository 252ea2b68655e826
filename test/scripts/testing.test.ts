/**
 * What the test runner believes of a test file: its counts, its skips, and every way to fail.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createTapCounter, runTestProcess } from '../../scripts/testing/run-file.js'
import { groupsOf } from '../../scripts/testing/schedule.js'

const OUTPUT = `TAP version 14
# Subtest: what holds
    ok 1 - an assertion
    not ok 2 - one that is only inside
    1..2
not ok 1 - what holds # time=3.2ms
ok 2 - what also holds
ok 3 - what needs root # SKIP root is needed
# Subtest: a group
    ok 1 - one of it # SKIP
    1..1
ok 4 - a group
1..4`

t.test(
  'tests are counted at the left margin, skips everywhere and with their reasons',
  async (t) => {
    const reader = createTapCounter()
    for (const line of OUTPUT.split('\n')) reader.line(line)
    t.match(reader.counts(), {
      passed: 2,
      failed: 1,
      skipped: ['what needs root (root is needed)', 'one of it (no reason given)'],
    })
    const whole = createTapCounter()
    whole.line('1..0 # SKIP no kernel')
    t.same(whole.counts().skipped, ['the whole file (no kernel)'])
  },
)

t.test('a file that fails, breaks off or tests nothing is a failure', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'godwit-runner-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  const outcome = async (program: string) => {
    writeFileSync(join(root, 'one.cjs'), program)
    const { passed, failed, lines } = await runTestProcess(root, 'one.cjs')
    return { passed, failed, said: lines.join('\n') }
  }
  const good = "console.log('ok 1 - a'); console.log('1..1');"
  t.match(await outcome(good), { passed: 1, failed: 0 })
  t.match(await outcome(`${good} process.exitCode = 3`), { failed: 1, said: /ended: 3/ })
  t.match(await outcome(`${good} throw new Error('after all')`), { failed: 1, said: /after all/ })
  t.match(await outcome(''), { passed: 0, failed: 1 })
  t.match(await outcome("process.kill(process.pid, 'SIGKILL')"), { failed: 1, said: /SIGKILL/ })
  const options = await outcome("console.log('ok 1 - ' + process.env.NODE_OPTIONS)")
  const ours = `ok 1 - ${process.env['NODE_OPTIONS']}`
  t.equal(options.said, ours, 'nothing is loaded into what a test starts')
})

t.test('every file runs once, and what measures runs alone', async (t) => {
  const files = ['lisp/a', 'e2e/kill', 'e2e/move', 'bench/b', 'fuzz/decoders'].map(
    (name) => `dist/test/${name}.test.js`,
  )
  const groups = groupsOf(files)
  t.same(groups.flatMap((group) => group.files).sort(), [...files].sort())
  const alone = groups.filter(({ jobs }) => jobs === 1).flatMap((group) => group.files)
  t.ok(alone.includes('dist/test/bench/b.test.js'))
  t.notOk(alone.includes('dist/test/e2e/kill.test.js'))
  t.equal(groups[0]?.files[0], 'dist/test/e2e/kill.test.js', 'the longest first')
})
