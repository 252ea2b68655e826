/**
 * A process inside a node that is its datapath and nothing else: loads the programs of the configuration
 * named on the command line, puts replication entries on demand, takes everything away at the end of its
 * input. One JSON request per line on stdin, one JSON answer per line on stdout.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { loadConfig } from '../src/config/load.js'
import { ensureBpfFilesystem } from '../src/daemon/capabilities.js'
import { readInterfaces } from '../src/daemon/interfaces.js'
import { createBpfDatapath } from '../src/datapath/bpf-datapath.js'
import { loadNativeAddon } from '../src/datapath/native-addon.js'
import { parseIpAddress } from '../src/lisp/address.js'
import { locator } from '../src/lisp/locator.js'

export type ReplicatorRequest =
  | {
      readonly do: 'put'
      readonly source: string
      readonly group: string
      readonly instanceId: number
      readonly rlocs: readonly string[]
      readonly level: number
    }
  | { readonly do: 'cost' }

export interface ReplicatorAnswer {
  readonly error?: string
  /** Of the program that has run most often: runs, and nanoseconds in all. */
  readonly runs?: number
  readonly nanoseconds?: number
}

const loaded = loadConfig(process.argv[2] ?? '')
if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors))
const { config, nodeConfig } = loaded
ensureBpfFilesystem()
const refused: string[] = []
const datapath = createBpfDatapath({
  config,
  nodeConfig,
  addon: loadNativeAddon(),
  interfaces: await readInterfaces(),
  log() {},
  onEvents: (events) => {
    for (const one of events) if (one.kind === 'operation-failed') refused.push(one.reason)
  },
  onPacketTooBig() {},
})
datapath.restore()
for (const { eidPrefix, interfaceName } of nodeConfig.eidPrefixes)
  datapath.perform({
    kind: 'put-local-eid',
    eidPrefix,
    state: 'local',
    interfaceName,
    mac: undefined,
    dynamicPrefix: false,
    reportSenders: false,
    release: [],
  })
datapath.start()

async function answer(request: ReplicatorRequest): Promise<ReplicatorAnswer> {
  if (request.do === 'cost') return cost()
  const address = (text: string) => parseIpAddress(text)!
  const [own] = nodeConfig.rlocs
  datapath.perform({
    kind: 'put-replication',
    group: {
      instanceId: request.instanceId,
      source: address(request.source),
      group: address(request.group),
    },
    copies: request.rlocs.map((text) => ({
      locator: locator(address(text)),
      source: own!.address,
      pathMtu: 1500,
    })),
    localInterfaces: [],
    level: request.level,
  })
  // A failure is raised after this call stack.
  await new Promise((resolve) => setImmediate(resolve))
  const [reason] = refused.splice(0)
  return reason === undefined ? {} : { error: reason }
}

/** While kernel.bpf_stats_enabled is on, the kernel says it of every descriptor of a program. */
function cost(): ReplicatorAnswer {
  const all = readdirSync('/proc/self/fdinfo').flatMap((fd) => {
    const text = readInformation(fd)
    const runs = Number(/^run_cnt:\s+(\d+)$/m.exec(text)?.[1] ?? 0)
    const nanoseconds = Number(/^run_time_ns:\s+(\d+)$/m.exec(text)?.[1] ?? 0)
    return runs > 0 ? [{ runs, nanoseconds }] : []
  })
  return all.reduce((a, b) => (b.runs > a.runs ? b : a), { runs: 0, nanoseconds: 0 })
}

function readInformation(fd: string): string {
  try {
    return readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')
  } catch {
    // That of reading the directory itself is gone by now.
    return ''
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let reply: ReplicatorAnswer
  try {
    reply = await answer(JSON.parse(line) as ReplicatorRequest)
  } catch (cause) {
    reply = { error: (cause as Error).message }
  }
  process.stdout.write(`${JSON.stringify(reply)}\n`)
}
datapath.close('detach')
process.exit(0)
