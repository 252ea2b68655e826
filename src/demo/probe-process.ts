/**
 * One process of the traffic tool inside a node: started, listened to, ended.
 *
 * The tool says on stderr when it is ready and ends with one line of JSON on stdout; its packet records
 * are files of their own (records.ts).
 */

import type { ChildProcess } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { PROBE } from '../lab/daemons.js'
import { startProcess } from '../lab/processes.js'

export interface Probe {
  readonly pid: number
  /** Resolves when the process has said `word` on stderr; rejects when it ends before. */
  says(word: string): Promise<void>
  /** SIGTERM, then the last line of its stdout. */
  end(): Promise<string>
  ended(): Promise<string>
}

/** Starts `godwit-probe ARGS` in `node`; `name` is that of its process record. */
export function startProbe(topology: string, node: string, name: string, args: string[]): Probe {
  const child = startProcess({ topology, node, name, command: [PROBE(), ...args], output: 'pipe' })
  let [output, errors] = ['', '']
  child.stdout?.on('data', (data) => {
    output += data
  })
  child.stderr?.on('data', (data) => {
    errors += data
  })
  const ended = closed(child).then(() => output.trim().split('\n').at(-1) ?? '')
  return {
    pid: child.pid!,
    async says(word) {
      const until = performance.now() + START_LIMIT_MS
      while (!errors.includes(word)) {
        if (child.exitCode !== null || performance.now() > until) {
          throw new Error(`${name} did not start: ${errors.trim() || 'no word from it'}`)
        }
        await pause(5)
      }
    },
    end() {
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), END_LIMIT_MS)
      return ended.finally(() => clearTimeout(timer))
    },
    ended: () => {
      const timer = setTimeout(() => child.kill('SIGKILL'), END_LIMIT_MS)
      return ended.finally(() => clearTimeout(timer))
    },
  }
}

function closed(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.on('close', () => resolve()))
}

const START_LIMIT_MS = 12_000
const END_LIMIT_MS = 15_000
