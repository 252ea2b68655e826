/**
 * One node: gives each input to the role that owns it, and merges their outputs and deadlines.
 *
 * A datagram is decoded once, here; what is malformed, or is for a role that this node does not
 * play, becomes the event `datagram-ignored` with its reason and nothing else. A Map-Request inside an
 * Encapsulated Control Message goes to the Map-Resolver, the Map-Server or the ETR, in this order
 * (RFC 9301 §5.8, §8). Nothing is decided here about mappings.
 */
import type { NodeConfig } from '../config/node-config.js'
import { formatIpAddress } from '../lisp/address.js'
import {
  decodeMessage,
  type EncapsulatedControl,
  type Malformed,
  type MapRequest,
  type Message,
} from '../lisp/message.js'
import type { Capabilities, Instant } from './capabilities.js'
import { earliest } from './deadlines.js'
import { refusal } from './etr/etr.js'
import type { Input, Node, Output } from './input-output.js'
import { createRequestOpening, createTaskOpening, isForEtr } from './lisp-sec/lisp-sec-requests.js'
import { createDdtNode } from './map-resolver/ddt-node.js'
import { createDdtResolution } from './map-resolver/ddt-resolution.js'
import { createDdtSigning } from './map-resolver/ddt-signing.js'
import { createDdtTrust } from './map-resolver/ddt-trust.js'
import { createMapResolver, type MapResolver } from './map-resolver/map-resolver.js'
import { createMapServer } from './map-server/map-server.js'
import { report } from './outputs.js'
import type { RestoredState } from './restored-state.js'
import { lazily, type NodeSnapshot } from './snapshot.js'
import { EMPTY_PAGE } from './table-pages.js'
import { createXtr, type Xtr } from './xtr.js'

type Datagram = Extract<Input, { readonly kind: 'datagram' }>

/**
 * The node of this configuration. Nothing happens before its first input; the shell makes that
 * `restored` (with empty lists on a first start), so that nonces continue where they were.
 */
export function createNode(config: NodeConfig, capabilities: Capabilities): Node {
  const plays = (role: NodeConfig['roles'][number]): boolean => config.roles.includes(role)
  const xtr = XTR_ROLES.some(plays) ? createXtr(config, capabilities) : undefined
  const mapServer = plays('map-server') ? createMapServer(config, capabilities) : undefined
  const signing = createDdtSigning(config, capabilities)
  const ddtNode =
    plays('ddt-node') || mapServer !== undefined
      ? createDdtNode(config, mapServer, signing)
      : undefined
  const walks =
    plays('map-resolver') && config.ddt.roots.length > 0
      ? createDdtResolution(config, createDdtTrust(config, capabilities))
      : undefined
  const mapResolver = plays('map-resolver')
    ? createMapResolver(config, mapServer, walks)
    : undefined
  /** Whom a Map-Request in an ECM is for; undefined: nobody but the ETR. */
  const askedFirst: MapResolver['handleRequest'] | undefined =
    mapResolver?.handleRequest ??
    (mapServer &&
      ((request, ecm, datagram, now, outputs, security) =>
        mapServer.handleRequest(request, ecm, datagram, now, outputs, false, security)))
  const answers = mapResolver !== undefined || mapServer !== undefined
  const openRequest = answers ? createRequestOpening(config, capabilities) : undefined
  const openTask = createTaskOpening(config, capabilities)
  const progress = { started: false }

  function ignore(datagram: Datagram, reason: string, outputs: Output[]): void {
    const from = formatIpAddress(datagram.from)
    report(outputs, 'datagram-ignored', 'info', { reason, from, fromPort: datagram.fromPort })
  }

  function ignoreMalformed(datagram: Datagram, malformed: Malformed, outputs: Output[]): void {
    report(outputs, 'datagram-ignored', 'notice', {
      reason: malformed.code,
      from: formatIpAddress(datagram.from),
      offset: malformed.offset,
      field: malformed.field,
    })
  }

  function handleRequest(
    request: MapRequest,
    datagram: Datagram,
    now: Instant,
    outputs: Output[],
  ): void {
    if (xtr === undefined) {
      ignore(datagram, 'not-an-xtr', outputs)
      return
    }
    if (request.solicitMapRequest) {
      xtr.itr.handleSmr(request, datagram.from, now, outputs)
      xtr.multicast.handleSmr(request, now, outputs)
      return
    }
    const { from, fromPort, to } = datagram
    xtr.replies(request, { from, fromPort, to, encapsulated: false }, now, outputs)
  }

  function handleEncapsulated(
    ecm: EncapsulatedControl,
    datagram: Datagram,
    now: Instant,
    outputs: Output[],
  ): void {
    const request = decodeMessage(ecm.message)
    if (request.kind === 'malformed') {
      ignoreMalformed(datagram, request, outputs)
      return
    }
    if (request.kind !== 'map-request') {
      ignore(datagram, 'unexpected-inner-message', outputs)
      return
    }
    if (ecm.ddtOriginated && ddtNode === undefined) {
      ignore(datagram, 'not-a-ddt-node', outputs)
      return
    }
    if (xtr !== undefined && isForEtr(ecm)) {
      answerForMapServer(xtr, request, ecm, datagram, now, outputs)
      return
    }
    const asked = ecm.ddtOriginated ? ddtNode?.handleRequest : askedFirst
    const opening = openRequest?.(ecm, request.nonce)
    if (opening?.kind === 'refused') {
      // RFC 9303 §6.5: the whole message is discarded.
      ignore(datagram, opening.reason, outputs)
      return
    }
    const security = opening?.kind === 'protected' ? opening.request : undefined
    if (asked?.(request, ecm, datagram, now, outputs, security)) return
    if (xtr === undefined) {
      // A Map-Server has said what it had to say; without one there was nobody to ask.
      if (asked === undefined) ignore(datagram, 'not-an-xtr', outputs)
      return
    }
    const { from, to } = datagram
    const sign = security?.localTask?.sign
    const origin = { from, fromPort: ecm.innerSourcePort, to, encapsulated: true, sign }
    xtr.replies(request, origin, now, outputs)
  }

  /** A Map-Server has said who asks and for what; our signature is to go with the answer (RFC 9303 §6.8). */
  function answerForMapServer(
    asked: Xtr,
    request: MapRequest,
    ecm: EncapsulatedControl,
    datagram: Datagram,
    now: Instant,
    outputs: Output[],
  ): void {
    const sign = openTask(ecm, request.nonce)
    if (sign === undefined) {
      ignore(datagram, 'one-time-key', outputs)
      return
    }
    const { from, to } = datagram
    const origin = { from, fromPort: ecm.innerSourcePort, to, encapsulated: true, sign }
    asked.replies(request, origin, now, outputs)
  }

  function handleMessage(
    message: Message,
    datagram: Datagram,
    now: Instant,
    outputs: Output[],
  ): void {
    const { from, bytes } = datagram
    switch (message.kind) {
      case 'map-request': {
        handleRequest(message, datagram, now, outputs)
        return
      }
      case 'encapsulated-control': {
        handleEncapsulated(message, datagram, now, outputs)
        return
      }
      case 'map-register':
        if (mapServer === undefined) {
          ignore(datagram, 'not-a-map-server', outputs)
          return
        }
        {
          mapServer.handleRegister(message, datagram, now, outputs)
          return
        }
      case 'map-referral':
        if (mapResolver === undefined) ignore(datagram, 'not-a-map-resolver', outputs)
        else mapResolver.handleReferral(message, datagram, now, outputs)
        return
      case 'map-notify-ack':
        if (mapServer === undefined) {
          ignore(datagram, 'not-a-map-server', outputs)
          return
        }
        {
          mapServer.handleNotifyAck(message, datagram, now, outputs)
          return
        }
      case 'map-reply':
        if (mapServer?.handleReply(message, now, outputs)) return
        if (xtr === undefined) {
          ignore(datagram, 'not-an-xtr', outputs)
          return
        }
        {
          if (xtr.multicast.handleReply(message, from, now, outputs)) return
          xtr.itr.handleReply(message, bytes, from, now, outputs)
          return
        }
      case 'map-notify':
        if (xtr === undefined) {
          ignore(datagram, 'not-an-xtr', outputs)
          return
        }
        {
          if (xtr.multicast.handleNotify(message, bytes, from, now, outputs)) return
          if (xtr.itr.handleNotify(message, bytes, from, now, outputs)) return
          xtr.etr.handleNotify(message, bytes, from, now, outputs)
          return
        }
      case 'move':
        if (xtr === undefined) {
          ignore(datagram, 'not-an-xtr', outputs)
          return
        }
        {
          xtr.handleMove(message, bytes, from, now, outputs)
          return
        }
      case 'info-request':
      case 'info-reply':
        // Without NAT traversal there is nobody to ask and nothing to learn.
        ignore(datagram, 'no-nat-traversal', outputs)
        return
    }
  }

  function start(restored: RestoredState | undefined, now: Instant, outputs: Output[]): void {
    progress.started = true
    mapServer?.restore(restored?.records ?? [], now, outputs)
    xtr?.start(restored, now, outputs)
    report(outputs, 'node-started', 'notice', { node: config.node, roles: config.roles })
  }

  return {
    handle(input, now, outputs) {
      if (!progress.started)
        start(input.kind === 'restored' ? input.state : undefined, now, outputs)
      switch (input.kind) {
        case 'restored':
          return
        case 'datagram': {
          const message = decodeMessage(input.bytes)
          if (message.kind === 'malformed') return ignoreMalformed(input, message, outputs)
          return handleMessage(message, input, now, outputs)
        }
        case 'datapath':
          xtr?.handleDatapath(input.event, now, outputs)
          if (!input.more) xtr?.endBatch(now, outputs)
          return
        case 'command': {
          const { commandId, command } = input
          if (xtr !== undefined) return xtr.handleCommand(commandId, command, now, outputs)
          const result =
            command.kind === 'shutdown'
              ? { ok: true as const, value: { withdrawn: 0 } }
              : refusal(503, 'not-an-xtr', `node ${config.node} is neither an ITR nor an ETR`)
          outputs.push({ kind: 'result', commandId, result })
          return
        }
        case 'deadline':
          mapServer?.handleDeadline(now, outputs)
          mapResolver?.handleDeadline(now, outputs)
          xtr?.handleDeadline(now, outputs)
      }
    },
    // Before the first input it is wanted at once, so that a node nobody speaks to starts as well.
    deadline: () =>
      progress.started
        ? earliest(mapServer?.deadline(), mapResolver?.deadline(), xtr?.deadline())
        : 0,
    // Each table is made when it is read: whoever wants the moves does not pay for the map-cache.
    snapshot: (now): NodeSnapshot =>
      lazily({
        node: () => config.node,
        roles: () => config.roles,
        mapCache: () => xtr?.views.mapCache(now) ?? [],
        mappingDatabase: () => xtr?.views.mappingDatabase(now) ?? [],
        registrations: () => mapServer?.registrationViews(now) ?? [],
        sites: () => mapServer?.siteViews() ?? [],
        referrals: () => mapResolver?.referralViews(now) ?? [],
        subscriptions: () => [
          ...(mapServer?.subscriptionViews(now) ?? []),
          ...(xtr?.views.subscriptions(now) ?? []),
        ],
        locators: () => xtr?.views.locators(now) ?? [],
        moves: () => xtr?.views.moves(now) ?? [],
        pimLinks: () => xtr?.views.pimLinks() ?? [],
        groups: () => [...(mapServer?.groupViews() ?? []), ...(xtr?.views.groups() ?? [])],
        listeners: () => xtr?.views.listeners(now) ?? [],
        segments: () => xtr?.views.segments() ?? [],
      }),
    tables: {
      sizes() {
        const own = xtr?.tables.sizes() ?? NO_XTR_SIZES
        const told = mapServer?.subscriptionCounts() ?? { subscriptions: 0, behind: 0 }
        return {
          ...own,
          registrations: mapServer?.registrationCount() ?? 0,
          describedEids: mapServer?.described.size ?? 0,
          subscriptions: own.subscriptions + told.subscriptions,
          subscribersBehind: told.behind,
          groups: own.groups + (mapServer?.groupCounts().groups ?? 0),
          groupMembers: mapServer?.groupCounts().members ?? 0,
        }
      },
      mapCache: (query, now) => xtr?.tables.mapCache(query, now) ?? EMPTY_PAGE,
      mappingDatabase: (query, now) => xtr?.tables.mappingDatabase(query, now) ?? EMPTY_PAGE,
      registrations: (query, now) => mapServer?.registrationPage(query, now) ?? EMPTY_PAGE,
      describedEids: (query, now) => mapServer?.described.page(query, now) ?? EMPTY_PAGE,
      move: (moveId, now) => xtr?.tables.move(moveId, now),
    },
  }
}

/** Whoever forwards packets has a map-cache and a datapath; RFC 6832 and RTRs add no other parts. */
const XTR_ROLES = ['itr', 'etr', 'pitr', 'petr', 'rtr'] as const

const NO_XTR_SIZES = {
  mapCache: 0,
  mappingDatabase: 0,
  subscriptions: 0,
  groups: 0,
  listenedGroups: 0,
  moves: 0,
  movesUnderWay: 0,
  unreachableLocators: 0,
  narrowedPaths: 0,
}
