/**
 * Secret files: read once, checked, and kept out of every message.
 *
 * A secret is the file's text without surrounding white space. What a message may say about one is
 * its path. Reading is a capability, so that a configuration can be checked without a file system.
 */
import { createHash } from 'node:crypto'
import type { ConfigKeys } from './config-error.js'
import type { Report } from './placed-addresses.js'
import type { Config } from './schema.js'
import { wrappingKeys } from './security-checks.js'

/** What reading a file gave; `worldReadable`: any user of the host can read it. */
export type SecretFile =
  | { readonly ok: true; readonly text: string; readonly worldReadable: boolean }
  | { readonly ok: false; readonly problem: string }

export type ReadSecret = (path: string) => SecretFile

export interface Secrets {
  /** The secret of a file that was read; empty when it could not be (a reported error). */
  bytes(path: string): Uint8Array
  /** Equal for equal secrets, says nothing else about them; undefined when unreadable or empty. */
  fingerprint(path: string): string | undefined
  report(error: Report, warn: Report): void
}

/** Reads every secret (and TLS key) that `config` refers to. Problems come out of `report`. */
export function readSecrets(config: Config, readSecret: ReadSecret): Secrets {
  const references = secretReferences(config)
  const files = new Map<string, SecretFile>()
  for (const { path } of references) {
    if (path !== '' && !files.has(path)) files.set(path, readSecret(path))
  }
  const bytes = (path: string): Uint8Array => {
    const file = files.get(path)
    return new TextEncoder().encode(file?.ok === true ? file.text.trim() : '')
  }
  return {
    bytes,
    fingerprint(path) {
      const secret = bytes(path)
      return secret.length === 0 ? undefined : createHash('sha256').update(secret).digest('hex')
    },
    report(error, warn) {
      for (const { keys, path, isSecret } of references) {
        const file = files.get(path)
        if (file === undefined) {
          error(keys, 'is an empty path', 'name a file, as /etc/godwit/site.key')
        } else if (!file.ok) {
          const hint = 'a relative path starts at the directory of the configuration'
          error(keys, `${path}: ${file.problem}`, hint)
        } else if (file.text.trim() === '') {
          error(keys, `${path} is empty`, 'make one with: openssl rand -hex 32 > FILE')
        } else if (isSecret && file.worldReadable) {
          warn(keys, `${path} can be read by every user`, `chmod 600 ${path}`)
        }
      }
    },
  }
}

interface SecretReference {
  readonly keys: ConfigKeys
  readonly path: string
  /** False for a certificate, which is public. */
  readonly isSecret: boolean
}

function secretReferences(config: Config): SecretReference[] {
  const references: SecretReference[] = []
  const add = (keys: ConfigKeys, path: string | undefined, isSecret = true): void => {
    if (path !== undefined) references.push({ keys, path, isSecret })
  }
  config.mapServers.forEach((server, index) => {
    add(['mapServers', index, 'key', 'secretFile'], server.key.secretFile)
  })
  for (const { keys, key } of wrappingKeys(config)) add([...keys, 'secretFile'], key.secretFile)
  add(['mobility', 'key', 'secretFile'], config.mobility.key?.secretFile)
  config.mapServer.sites.forEach((site, index) => {
    site.keys.forEach((key, at) => {
      add(['mapServer', 'sites', index, 'keys', at, 'secretFile'], key.secretFile)
    })
  })
  config.subscriptions.subscribers.forEach(({ key }, index) => {
    add(['subscriptions', 'subscribers', index, 'key', 'secretFile'], key?.secretFile)
  })
  config.ddt.signingKeyFiles.forEach((path, index) => {
    add(['ddt', 'signingKeyFiles', index], path)
  })
  for (const [keys, path] of publicKeyFiles(config)) add(keys, path, false)
  const tls = config.api.tcp?.tls
  add(['api', 'tcp', 'tls', 'certificateFile'], tls?.certificateFile, false)
  add(['api', 'tcp', 'tls', 'keyFile'], tls?.keyFile)
  add(['api', 'tcp', 'tls', 'clientCaFile'], tls?.clientCaFile, false)
  return references
}

/** Every PEM public key that the delegation tree names, with the place where it does. */
export function publicKeyFiles({ ddt }: Config): (readonly [keys: ConfigKeys, path: string])[] {
  const listed = (keys: ConfigKeys, paths: readonly string[]) =>
    paths.map((path, index) => [[...keys, index], path] as const)
  return [
    ...listed(['ddt', 'rootKeyFiles'], ddt.rootKeyFiles),
    ...ddt.delegations.flatMap(({ keyFiles, revokedKeyFiles }, index) => [
      ...listed(['ddt', 'delegations', index, 'keyFiles'], keyFiles),
      ...listed(['ddt', 'delegations', index, 'revokedKeyFiles'], revokedKeyFiles),
    ]),
  ]
}
