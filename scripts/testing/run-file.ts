/**
 * One test file as a process of its own, and what its TAP says: tests passed, failed and skipped.
 *
 * A test is what stands at the left margin; subtests and assertions are inside. A file fails as well
 * when it exits with an error, runs no test at all, or does not end.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export interface TestFileResult {
  readonly file: string
  readonly passed: number
  /** At least 1 when anything is wrong with the file. */
  readonly failed: number
  /** `name (reason)` of every skipped test or assertion. */
  readonly skipped: readonly string[]
  /** Standard output and errors, as they came. */
  readonly lines: readonly string[]
  readonly elapsedMs: number
}

/** Runs `file`, a path under `root`; resolves when it has ended, however. */
export function runTestProcess(root: string, file: string): Promise<TestFileResult> {
  const beganAt = performance.now()
  const reader = createTapCounter()
  return new Promise((resolve) => {
    const finish = (problem: string | undefined): void => {
      clearTimeout(timer)
      if (problem !== undefined) reader.line(`runner: ${problem}`)
      const { passed, failed, skipped, lines } = reader.counts()
      const isWrong = problem !== undefined || passed + failed + skipped.length === 0
      const elapsedMs = performance.now() - beganAt
      resolve({ file, passed, failed: isWrong ? failed || 1 : failed, skipped, lines, elapsedMs })
    }
    const child = spawn(process.execPath, ['--enable-source-maps', join(root, file)], {
      cwd: root,
      env: { ...process.env, TAP_TIMEOUT: String(TIMEOUT_S) },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), (TIMEOUT_S + GRACE_S) * 1000)
    createInterface({ input: child.stdout }).on('line', reader.line)
    createInterface({ input: child.stderr }).on('line', reader.line)
    child.on('error', (error) => finish(String(error)))
    child.on('close', (code, signal) => finish(code === 0 ? undefined : `ended: ${signal ?? code}`))
  })
}

/** Feeds on lines of TAP 14 and whatever stands between them. */
export function createTapCounter() {
  const lines: string[] = []
  const skipped: string[] = []
  let [passed, failed] = [0, 0]
  const line = (text: string): void => {
    lines.push(text)
    const whole = /^1\.\.0 # SKIP ?(.*)$/i.exec(text)
    if (whole) skipped.push(`the whole file (${whole[1] || 'no reason given'})`)
    const point = /^( *)(not ok|ok) \d+(?: - (.*))?$/.exec(text)
    if (!point) return
    const [, indent, verdict, description = ''] = point
    const skip = /^(.*?) # SKIP ?(.*)$/.exec(description)
    if (skip) skipped.push(`${skip[1]} (${skip[2] || 'no reason given'})`)
    else if (indent === '' && verdict === 'ok') passed++
    else if (indent === '') failed++
  }
  return { line, counts: () => ({ passed, failed, skipped, lines }) }
}

/** Of a test that sets no limit of its own; what ends then is told by name. */
const TIMEOUT_S = 600
/** For a process that does not even hear its own limit. */
const GRACE_S = 60
