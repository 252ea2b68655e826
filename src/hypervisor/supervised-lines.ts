/**
 * A program that talks without end, line by line, started again when it ends.
 *
 * What a program could not say while it was down is lost; `onStart` is the place to ask for the
 * present state. Lines are bounded, restarts are paced.
 */
import { type ChildProcess, spawn } from 'node:child_process'

export interface SupervisedProgram {
  readonly command: readonly string[]
  readonly onLine: (line: string) => void
  /** After every start, also the first. */
  readonly onStart?: () => void
  /** Told why it ended, in the program's last words. */
  readonly onEnd: (reason: string) => void
}

/** Starts it; the returned function ends it for good. */
export function superviseLines(program: SupervisedProgram): () => void {
  let child: ChildProcess | undefined
  let timer: NodeJS.Timeout | undefined
  let [stopped, waitMs] = [false, FIRST_WAIT_MS]
  const start = (): void => {
    const began = performance.now()
    let [rest, words] = ['', '']
    child = spawn(program.command[0]!, program.command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout?.setEncoding('utf8')
    child.stdout?.on('data', (part: string) => {
      const lines = (rest + part).split('\n')
      rest = (lines.pop() ?? '').slice(-MAXIMUM_LINE)
      for (const line of lines) program.onLine(line.slice(0, MAXIMUM_LINE))
    })
    child.stderr?.on('data', (part) => {
      words = (words + part).slice(-MAXIMUM_LINE)
    })
    child.on('error', (cause) => {
      words = cause.message
    })
    child.on('close', (code) => {
      child = undefined
      if (stopped) return
      program.onEnd(words.trim().split('\n').at(-1) || `it ended with ${code}`)
      waitMs =
        performance.now() - began > SETTLED_MS ? FIRST_WAIT_MS : Math.min(waitMs * 2, LAST_WAIT_MS)
      timer = setTimeout(start, waitMs)
    })
    program.onStart?.()
  }
  start()
  return () => {
    stopped = true
    clearTimeout(timer)
    child?.kill('SIGTERM')
  }
}

const MAXIMUM_LINE = 8_192
const FIRST_WAIT_MS = 200
const LAST_WAIT_MS = 10_000
const SETTLED_MS = 30_000
