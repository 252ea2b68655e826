/**
 * A host that listens: its memberships (member.ts, as an application) and the traffic tool, which
 * counts whatever reaches the host's stack.
 *
 * The tool's socket has no memberships of its own, so that the kernel gives it all that any of the
 * host's memberships lets in: also what nobody there asked for, if it came.
 */
import { createInterface } from 'node:readline'
import { compiledFile } from '../../lab/names.js'
import { startProcess } from '../../lab/processes.js'
import { startProbe } from '../probe-process.js'
import type { Done, Order } from './member.js'

export interface Listener {
  readonly node: string
  readonly recordFile: string
  /** CLOCK_MONOTONIC in ns when the host asked for it; rejects with the kernel's words. */
  join(group: string, source: string | undefined): Promise<number>
  leave(group: string, source: string | undefined): Promise<number>
  /** Ends both processes; packets that its socket had to drop: the measurement is void then. */
  stop(): Promise<number>
}

/** Starts a host's processes; resolves when both are ready. */
export async function startListener(
  topology: string,
  node: string,
  recordFile: string,
): Promise<Listener> {
  const args = ['stream', 'recv', '--port', STREAM_PORT, '--records', recordFile]
  const counter = startProbe(topology, node, `${node}-counter`, args)
  const member = startProcess({
    topology,
    node,
    name: `${node}-member`,
    command: [process.execPath, compiledFile('../demo/multicast/member.js')],
    output: 'pipe',
  })
  const answers = createInterface({ input: member.stdout! })[Symbol.asyncIterator]()
  await counter.says('listening')
  const order = async (what: Order): Promise<number> => {
    member.stdin!.write(`${JSON.stringify(what)}\n`)
    const answer = await answers.next()
    if (answer.done) throw new Error(`${node}: the process with its memberships has ended`)
    const { atNs, error } = JSON.parse(answer.value) as Done
    if (error !== undefined) throw new Error(`${node}, ${what.group}: ${error}`)
    return atNs
  }
  return {
    node,
    recordFile,
    join: (group, source) => order({ action: 'join', group, source }),
    leave: (group, source) => order({ action: 'leave', group, source }),
    async stop() {
      const report = await counter.end()
      member.stdin!.end()
      const { socketOverflow } = JSON.parse(report) as { socketOverflow: number }
      return socketOverflow
    },
  }
}

/** The port that all streams are sent to. */
export const STREAM_PORT = '5000'
