/**
 * A topology that is up for the length of a test file, and commands inside its nodes.
 *
 * Needs root and a kernel with tcx; `labSkip` is the named reason to skip otherwise.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Topology } from '../../src/config/topology-schema.js'
import { decodeRecords, type PacketRecord } from '../../src/demo/records.js'
import { type ApiAnswer, type ApiRequest, apiRequest } from '../../src/lab/api-request.js'
import { PROBE } from '../../src/lab/daemons.js'
import { bringUp, lockTopology, takeDown, type UpOptions } from '../../src/lab/lab.js'
import { namespaceFile, packageFile, socketOf } from '../../src/lab/names.js'
import { missingRequirements } from '../../src/lab/requirements.js'
import { loadTopology } from '../../src/lab/topology.js'

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunningProgram {
  /** Resolves when stderr contains `word`; rejects when the program ends before, or after 10 s. */
  says(word: string): Promise<void>
  readonly finished: Promise<Finished>
  stop(): Promise<Finished>
}

export interface RunningLab {
  readonly topology: Topology
  readonly directory: string
  start(node: string, ...command: string[]): RunningProgram
  run(node: string, ...command: string[]): Promise<Finished>
  probe(node: string, ...args: string[]): RunningProgram
  api(node: string, path: string, options?: ApiRequest): Promise<ApiAnswer>
  records(file: string): readonly PacketRecord[]
}

/** False where labs can run, else the sentence that says why not. */
export const labSkip: string | false = missingRequirements()[0] ?? false

/** Brings `file` of topologies/ up as `name`; the test's teardown takes it down. */
export async function startLab(
  t: { teardown(action: () => Promise<void>): unknown },
  file: string,
  name: string,
  options: UpOptions & { readonly reshape?: (topology: Topology) => Topology } = {},
): Promise<RunningLab> {
  const result = loadTopology(packageFile('topologies', file))
  if (!result.ok) throw new Error(JSON.stringify(result.errors))
  const { reshape = (topology) => topology } = options
  const loaded = { ...result, topology: { ...reshape(result.topology), name } }
  const directory = mkdtempSync(join(tmpdir(), 'godwit-test-'))
  const unlock = lockTopology(name)
  t.teardown(async () => {
    await takeDown(name)
    unlock()
    rmSync(directory, { recursive: true, force: true })
  })
  await bringUp(loaded, options)
  const start = (node: string, ...command: string[]): RunningProgram =>
    startProgram('nsenter', [`--net=${namespaceFile(name, node)}`, ...command])
  return {
    topology: loaded.topology,
    directory,
    start,
    run: (node, ...command) => start(node, ...command).finished,
    probe: (node, ...args) => start(node, PROBE(), ...args),
    api: (node, path, request) => apiRequest(socketOf(name, node), path, request),
    records: (path) => decodeRecords(readFileSync(path)).records,
  }
}

/** Starts a program outside of any namespace of ours; output is kept. */
export function startProgram(program: string, args: readonly string[]): RunningProgram {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr, ended] = ['', '', false]
  child.stdout.on('data', (data) => {
    stdout += data
  })
  child.stderr.on('data', (data) => {
    stderr += data
  })
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      ended = true
      resolve({ code, stdout, stderr })
    })
  })
  return {
    finished,
    async says(word) {
      const until = performance.now() + SAYS_LIMIT_MS
      while (!stderr.includes(word)) {
        if (ended || performance.now() > until) throw new Error(`no "${word}" in: ${stderr}`)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    },
    stop() {
      child.kill('SIGTERM')
      return finished
    },
  }
}

const SAYS_LIMIT_MS = 10_000
