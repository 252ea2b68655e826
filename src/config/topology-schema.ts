/**
 * A topology as YAML: nodes, links, bridges, patch panels, and the moves of a story.
 *
 * The outer shape is containerlab's (`name`, `topology: nodes: … links: …`), so that people know
 * where to look. This schema is the single source: the TypeScript type, validation at load and
 * topologies/topology.schema.json derive from it. What a file means in network namespaces is for
 * src/lab to say; nothing here runs anything.
 */
import type { Static } from 'typebox'
import { Type } from './schema-builder.js'

const closed = { additionalProperties: false }

const NodeName = Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,30}$' })
const InterfaceName = Type.String({ pattern: '^[a-zA-Z0-9][a-zA-Z0-9._-]{0,14}$' })
const MacText = Type.String({ pattern: '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$' })
const AddressWithLength = Type.String({
  pattern: '^[0-9a-fA-F.:]+/[0-9]{1,3}$',
  description: 'An address with its prefix length, as 10.10.0.1/24',
})

const NODE_KINDS = ['router', 'xtr', 'mapping', 'endpoint', 'host', 'panel'] as const
export type NodeKind = (typeof NODE_KINDS)[number]

const BridgeSchema = Type.Object(
  {
    ports: Type.Array(InterfaceName, { description: 'Interfaces of this node that are its ports' }),
    mac: Type.Optional(MacText),
    addresses: Type.Array(AddressWithLength, {
      default: [],
      description: 'Address and MAC may be the same on several nodes: an anycast gateway',
    }),
  },
  closed,
)

const Route = Type.Object(
  {
    to: Type.String({ description: '`default` or a prefix; the family is that of `via`' }),
    via: Type.String({ description: 'The next hop' }),
  },
  closed,
)

const Panel = Type.Object(
  {
    port: InterfaceName,
    legs: Type.Record(NodeName, InterfaceName, {
      ...closed,
      description: 'Interface of this panel that leads to the named node',
    }),
    active: NodeName,
  },
  { ...closed, description: 'Where an endpoint is plugged in: a port and one leg to each cloud' },
)

const TopologyNodeSchema = Type.Object(
  {
    kind: Type.Union(
      NODE_KINDS.map((kind) => Type.Literal(kind)),
      {
        description:
          'router forwards; xtr and mapping run godwitd; endpoint can move, host stays; ' +
          'panel is where an endpoint is plugged in',
      },
    ),
    addresses: Type.Record(InterfaceName, Type.Array(AddressWithLength), {
      ...closed,
      default: {},
    }),
    macs: Type.Record(InterfaceName, MacText, { ...closed, default: {} }),
    routes: Type.Array(Route, { default: [] }),
    bridges: Type.Record(InterfaceName, BridgeSchema, { ...closed, default: {} }),
    panel: Type.Optional(Panel),
    config: Type.Optional(
      Type.Union([Type.String(), Type.Record(Type.String(), Type.Unknown())], {
        description:
          'godwitd configuration, inline or a file beside this one. Secret files without a slash are ' +
          'made at random when the topology is brought up, the same name being the same secret.',
      }),
    ),
  },
  closed,
)

const Link = Type.Object(
  {
    endpoints: Type.Array(
      Type.String({ pattern: '^[a-z0-9][a-z0-9-]*:[a-zA-Z0-9][a-zA-Z0-9._-]{0,14}$' }),
      { minItems: 2, maxItems: 2, description: 'Two of node:interface' },
    ),
    mtu: Type.Integer({ minimum: 1280, maximum: 65_535, default: 1500 }),
  },
  closed,
)

const ScriptedMove = Type.Object(
  {
    endpoint: NodeName,
    to: NodeName,
    trigger: Type.Union(
      [Type.Literal('orchestrated'), Type.Literal('blackout'), Type.Literal('detected')],
      { default: 'orchestrated' },
    ),
  },
  closed,
)

export const TopologySchema = Type.Object(
  {
    name: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,23}$', description: 'Kebab-case' }),
    topology: Type.Object(
      {
        nodes: Type.Record(NodeName, TopologyNodeSchema, closed),
        links: Type.Array(Link, { default: [] }),
      },
      closed,
    ),
    moves: Type.Array(ScriptedMove, {
      default: [],
      description: 'The moves of the story, in order',
    }),
  },
  { ...closed, $id: 'godwit-topology', title: 'Godwit topology' },
)

/** A topology with every default filled in; cross-checks are made by src/lab/topology.ts. */
export type Topology = Static<typeof TopologySchema>
export type TopologyNode = Static<typeof TopologyNodeSchema>
export type TopologyMove = Static<typeof ScriptedMove>
