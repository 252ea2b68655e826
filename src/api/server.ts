/**
 * The HTTP API of a node: where it listens, and who answers.
 *
 * Served on a Unix socket (mode 0660) and, when configured, on TCP. Who may open the socket may
 * command the node: on the socket the file mode decides, on TCP loopback or client certificates do.
 * It listens when everything that answers is loaded: a node that says it is healthy has no heavy
 * work of its start left to do, and so no packet waits for it.
 */
import type { Config } from '../config/schema.js'
import type { AddressHintCounters } from '../datapath/address-hint-counters.js'
import type { GroupPacketCounters } from '../datapath/group-packet-counters.js'
import { createApplication } from './application.js'
import type { ApiDatapath, ApiNode } from './context.js'
import type { ApiLog } from './errors.js'
import { defaultSocketPath, type Listener, listenOnSocket, listenOnTcp } from './listen.js'
import type { SocketCounters } from './socket-metrics.js'
import type { WorkloadKeeping } from './workload-book.js'

export interface ApiOptions {
  readonly node: ApiNode
  readonly datapath: ApiDatapath | undefined
  /** Counters of IGMP, MLD, PIM and joins between xTRs, where these are spoken. */
  readonly groupPackets?: (() => GroupPacketCounters) | undefined
  readonly addressHints?: (() => AddressHintCounters) | undefined
  readonly config: Config
  readonly version: string
  readonly startedAt: Date
  /** Keeps announced workloads through restarts. */
  readonly workloads?: WorkloadKeeping
  /** What went over the sockets of the daemon; missing: it is not counted. */
  readonly sockets?: () => SocketCounters
  /** What is amiss around the node now, as sentences; missing: nothing is known of it. */
  readonly problems?: () => readonly string[]
  /** Where faults of the API itself go; without it they are only answered (500). */
  readonly log?: ApiLog
}

export interface Api {
  /** Ends event streams, closes the listeners, removes the socket. */
  close(): Promise<void>
  /** `unix:/run/godwit/a.sock`, `http://127.0.0.1:8642`. */
  readonly addresses: string[]
}

/**
 * Starts the API on all configured addresses. Throws, with nothing left listening, when an address
 * cannot be had: another daemon answers on the socket, the port is taken, TLS files are unreadable.
 */
export async function startApi(options: ApiOptions): Promise<Api> {
  const { config } = options
  const application = await createApplication(options)
  const listeners: Listener[] = []
  const close = async (): Promise<void> => {
    await application.close()
    await Promise.all(listeners.map((listener) => listener.close()))
  }
  try {
    const path = config.api.socket ?? defaultSocketPath(config.node)
    listeners.push(await listenOnSocket(path, application.handle))
    if (config.api.tcp !== undefined) {
      listeners.push(await listenOnTcp(config.api.tcp, application.handle))
    }
  } catch (cause) {
    await close()
    throw cause
  }
  return { close, addresses: listeners.map(({ address }) => address) }
}
