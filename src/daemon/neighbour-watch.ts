/**
 * The kernel's neighbour table as a second witness of arriving EIDs.
 *
 * A neighbour that becomes REACHABLE has answered just now, so it is behind the interface; that is
 * raised as `local-eid-seen`. Only the change counts: an entry that merely still is REACHABLE says
 * nothing, because a host that left stays in the table for a while. Events can get lost (ENOBUFS),
 * so the table is read again from time to time, which only takes notes of what is known already.
 * The first witness is the datapath, which sees the frames themselves.
 */
import { createRtNetlink, type rt } from 'netlink'
import type { NodeConfig } from '../config/node-config.js'
import type { DatapathEvent } from '../control/datapath-event.js'
import type { NetworkInterface } from '../datapath/network-interface.js'
import { formatIpAddress, ipAddress, isLinkLocal, type MacAddress } from '../lisp/address.js'
import { coversEid } from '../lisp/eid.js'

export interface NeighbourWatch {
  /** MAC that the kernel knows for an address behind an interface. */
  mac(interfaceIndex: number, address: Uint8Array): MacAddress | undefined
  close(): void
}

export interface NeighbourWatchOptions {
  /** Read at each event: a reload may have changed them. */
  readonly nodeConfig: () => NodeConfig
  readonly interfaces: () => readonly NetworkInterface[]
  readonly onEvents: (events: readonly DatapathEvent[]) => void
  readonly onFailure: (error: unknown) => void
}

export function watchNeighbours(options: NeighbourWatchOptions): NeighbourWatch {
  const socket = createRtNetlink({
    recvBufferSize: SOCKET_BUFFER_BYTES,
    sendBufferSize: SOCKET_BUFFER_BYTES,
  })
  const known = new Map<string, { reachable: boolean; mac: MacAddress }>()

  const take = (message: rt.NeighborMessage, announce: boolean): DatapathEvent | undefined => {
    const { ifindex, state } = message.data
    const { dst, lladdr } = message.attrs
    if (ifindex === undefined || (dst?.length !== 4 && dst?.length !== 16)) return undefined
    const address = ipAddress(new Uint8Array(dst))
    const key = `${ifindex}/${formatIpAddress(address)}`
    const before = known.get(key)
    if (lladdr?.length !== 6 || state?.failed) {
      known.delete(key)
      return undefined
    }
    const mac = new Uint8Array(lladdr)
    const reachable = state?.reachable === true
    if (before === undefined && known.size >= MAXIMUM_NEIGHBOURS) return undefined
    known.set(key, { reachable, mac })
    if (!announce || !reachable || before?.reachable) return undefined
    return arrival(ifindex, address, mac)
  }

  const arrival = (
    interfaceIndex: number,
    address: ReturnType<typeof ipAddress>,
    mac: MacAddress,
  ): DatapathEvent | undefined => {
    if (isLinkLocal(address)) return undefined
    const interfaceName = options.interfaces().find(({ index }) => index === interfaceIndex)?.name
    const { siteInterfaces, dynamicEidPrefixes } = options.nodeConfig()
    const site = siteInterfaces.find(({ name }) => name === interfaceName)
    if (site === undefined) return undefined
    const eid = { instanceId: site.instanceId, address }
    const ours = dynamicEidPrefixes.some(
      (own) => own.interfaceName === site.name && coversEid(own.eidPrefix, eid),
    )
    if (!ours) return undefined
    return { kind: 'local-eid-seen', eid, mac, interfaceName: site.name, how: 'arp' }
  }

  const read = (): void => {
    socket.getNeighbors(undefined, undefined, { timeout: READ_MS }).then((neighbours) => {
      known.clear()
      for (const neighbour of neighbours) take(neighbour, false)
    }, options.onFailure)
  }

  socket.on('message', (messages) => {
    const events: DatapathEvent[] = []
    for (const message of messages) {
      if (message.kind !== 'neighbor') continue
      const event = take(message, true)
      if (event !== undefined) events.push(event)
    }
    if (events.length > 0) options.onEvents(events)
  })
  socket.socket.on('error', options.onFailure)
  socket.addMembership('NEIGH')
  read()
  const timer = setInterval(read, RESYNC_MS)
  timer.unref()

  return {
    mac: (interfaceIndex, address) =>
      known.get(`${interfaceIndex}/${formatIpAddress(ipAddress(address))}`)?.mac,
    close() {
      clearInterval(timer)
      socket.socket.close()
    },
  }
}

// Choice: the kernel's own gc_thresh3 is 1,024 per family.
const MAXIMUM_NEIGHBOURS = 65_536
const RESYNC_MS = 60_000
const READ_MS = 5_000
const SOCKET_BUFFER_BYTES = 1 << 20
