/**
 * The two farms of an evacuation: which endpoint runs where is which namespace has its address.
 * One `ip -batch` per farm is kept open, because starting one for each endpoint would be most of the
 * work that is measured beside it.
 */
import type { ChildProcess } from 'node:child_process'
import type { Topology } from '../../src/config/topology-schema.js'
import { startProcess } from '../../src/lab/processes.js'
import { FARMS } from './topology.js'

export type FarmCloud = keyof typeof FARMS

export interface EndpointFarms {
  /** Resolves when the endpoint runs there: not before may anybody be told. */
  run(cloud: FarmCloud, address: string): Promise<void>
  /** Resolves when it runs there no more. */
  stop(cloud: FarmCloud, address: string): Promise<void>
  close(): void
}

export function createEndpointFarms(topology: Topology): EndpointFarms {
  const farms = {
    'cloud-a': openFarm(topology, FARMS['cloud-a']),
    'cloud-b': openFarm(topology, FARMS['cloud-b']),
  }
  return {
    run: (cloud, address) => farms[cloud].perform(`address add ${address}/32 dev eth0`),
    stop: (cloud, address) => farms[cloud].perform(`address del ${address}/32 dev eth0`),
    close() {
      for (const farm of Object.values(farms)) farm.close()
    },
  }
}

interface Farm {
  perform(line: string): Promise<void>
  close(): void
}

/** Each command is followed by one that prints a line: it stands for what went before it. */
function openFarm(topology: Topology, farm: string): Farm {
  const child: ChildProcess = startProcess({
    topology: topology.name,
    node: farm,
    name: `${farm}-addresses`,
    command: ['stdbuf', '-oL', 'ip', '-force', '-oneline', '-batch', '-'],
    output: 'pipe',
  })
  const waiting: { readonly resolve: () => void; readonly reject: (cause: Error) => void }[] = []
  let [unread, errors] = ['', '']
  child.stdin!.on('error', () => {})
  child.stderr!.on('data', (data) => {
    errors = `${errors}${data}`.slice(-1_000)
  })
  child.stdout!.on('data', (data) => {
    unread += data
    for (let end = unread.indexOf('\n'); end >= 0; end = unread.indexOf('\n')) {
      unread = unread.slice(end + 1)
      waiting.shift()?.resolve()
    }
  })
  child.on('close', () => {
    for (const { reject } of waiting.splice(0)) reject(new Error(`${farm} has ended: ${errors}`))
  })
  return {
    perform: (line) =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject })
        child.stdin!.write(`${line}\nlink show dev eth0\n`)
      }),
    close: () => void child.stdin!.end(),
  }
}
