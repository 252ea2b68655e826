/**
 * Runs compiled test files one process each and tells what became of every test by name, subtests as
 * `parent › child`. Reads TAP 14 as tap prints it; judges nothing.
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { createInterface } from 'node:readline'

export type TestOutcome = 'passed' | 'failed' | 'skipped'

export interface FileOutcome {
  readonly tests: ReadonlyMap<string, TestOutcome>
  /** Of the process; undefined when it was ended by us. */
  readonly exitCode: number | undefined
  readonly timedOut: boolean
}

export interface RunOptions {
  readonly root: string
  readonly timeoutSeconds: number
  /** End the process as soon as this test has an outcome. */
  readonly until?: string
}

/** `file` is a test source like test/lisp/message.test.ts; runs its compiled form under `root`. */
export function runTestFile(file: string, options: RunOptions): Promise<FileOutcome> {
  const compiled = join(options.root, 'dist', file.replace(/\.ts$/, '.js'))
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [compiled], {
      cwd: options.root,
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true, // a group of its own, so that what it starts ends with it
    })
    const reader = createTapReader()
    let ended = false
    let timedOut = false
    const end = () => {
      if (ended || child.pid === undefined) return
      ended = true
      try {
        process.kill(-child.pid, 'SIGKILL')
      } catch {
        // It is already over.
      }
    }
    const timer = setTimeout(() => {
      timedOut = true
      end()
    }, options.timeoutSeconds * 1000)
    createInterface({ input: child.stdout }).on('line', (line) => {
      const name = reader.line(line)
      if (name !== undefined && name === options.until) end()
    })
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ tests: reader.tests, exitCode: ended ? undefined : (code ?? 1), timedOut })
    })
    child.on('error', () => {
      clearTimeout(timer)
      resolve({ tests: reader.tests, exitCode: 1, timedOut })
    })
  })
}

/** Feeds on lines; `line` returns the full name of a test that has just got its outcome. */
export function createTapReader() {
  const tests = new Map<string, TestOutcome>()
  const path: string[] = []
  function line(text: string): string | undefined {
    const match = /^((?: {4})*)(?:# Subtest: (.*)|(not ok|ok) \d+(?: - (.*))?)$/.exec(text)
    if (!match) return undefined
    const depth = (match[1] ?? '').length / 4
    if (match[2] !== undefined) {
      path.length = depth
      path[depth] = unescaped(match[2])
      return undefined
    }
    const [, description = '', directive = ''] =
      /^(.*?)((?: # (?:time=|SKIP|TODO).*)?)$/.exec(match[4] ?? '') ?? []
    const name = unescaped(description.replace(/ \{$/, ''))
    const idle = / # (SKIP|TODO)/.test(directive)
    // A point without a Subtest line is an assertion, unless it is a test that never began.
    if (!idle && (path[depth] !== name || path.length !== depth + 1)) {
      if (path.length > depth + 1) path.length = depth + 1
      if (path[depth] !== name) return undefined
    }
    const full = [...path.slice(0, depth), name].join(' › ')
    const outcome = idle ? 'skipped' : match[3] === 'ok' ? 'passed' : 'failed'
    // Of two tests with one name the worse counts.
    const before = tests.get(full)
    if (before === undefined || before === 'passed') tests.set(full, outcome)
    path.length = depth
    return full
  }
  return { line, tests }
}

/**
 * Whether every part of a test name stands in the file or in a test file that it imports; for when
 * nothing is run. Names that are put together at run time are not found this way.
 */
export function mentionsTest(root: string, file: string, name: string): boolean {
  const texts = new Map<string, string>()
  const read = (one: string): void => {
    if (texts.has(one)) return
    let text: string
    try {
      text = readFileSync(join(root, one), 'utf8')
    } catch {
      return
    }
    texts.set(one, text)
    for (const [, target = ''] of text.matchAll(/(?:from|import)\s*\(?'(\.[^']+)\.js'/g)) {
      const path = normalize(join(dirname(one), `${target}.ts`))
      if (path.startsWith('test/')) read(path)
    }
  }
  read(file)
  const all = [...texts.values()].join('\n').replaceAll("\\'", "'")
  return name.split(' › ').every((part) => all.includes(part))
}

function unescaped(text: string): string {
  return text.replace(/\\([#\\])/g, '$1')
}
