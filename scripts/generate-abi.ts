/**
 * Makes src/datapath/abi.generated.ts from the BTF of native/bpf/lisp_abi.h.
 *
 * A dummy C file that names every struct and enum of the header is compiled with `gcc -gbtf`; the
 * compiler's own layout is what is read back, so offsets can not drift from the C side. Fields
 * ending in `_be` and fields of a `__beNN` type are big-endian, `reserved*` fields are written as
 * zero and not shown. With `--check` nothing is written and a stale file is exit status 1. What would
 * make pinned maps be misread is refused until LISP_ABI_VERSION is raised.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { changesUnderOneVersion } from './abi-changes.js'
import { type BtfMember, type BtfType, parseBtf } from './btf.js'

const root = packageRoot()
const headerPath = join(root, 'native/bpf/lisp_abi.h')
const outputPath = join(root, 'src/datapath/abi.generated.ts')

function main(): void {
  const text = generate(readFileSync(headerPath, 'utf8'))
  const present = existsSync(outputPath) ? readFileSync(outputPath, 'utf8') : ''
  const changes = changesUnderOneVersion(present, text)
  if (changes.length > 0) {
    console.error(`${changes.join(', ')}: changed, so raise LISP_ABI_VERSION in ${headerPath}`)
    process.exitCode = 1
    return
  }
  if (!process.argv.includes('--check')) {
    writeFileSync(outputPath, text)
    return
  }
  if (present !== text) {
    console.error('src/datapath/abi.generated.ts is stale: run `npm run generate`')
    process.exitCode = 1
  }
}

function generate(header: string): string {
  const structs = [...header.matchAll(/^struct (lisp_\w+) \{/gm)].map((match) => match[1]!)
  const enums = [...header.matchAll(/^enum (lisp_\w+) \{/gm)].map((match) => match[1]!)
  const types = parseBtf(btfSection(compile(structs, enums)))
  const named = (kind: BtfType['kind'], name: string): BtfType => {
    const found = types.find((type) => type?.kind === kind && type.name === name)
    if (found === undefined) throw new Error(`${kind} ${name} is not in the BTF`)
    return found
  }
  const version = named('enum', 'godwit_abi_version').values[0]!.value
  const parts = [
    PROLOGUE,
    `/** LISP_ABI_VERSION. */\nexport const ABI_VERSION = ${version}\n`,
    ...enums.map((name) => enumText(named('enum', name))),
    ...structs.map((name) => structText(named('struct', name), types)),
    EPILOGUE,
  ]
  return parts.join('\n')
}

/** One object per type keeps the type in the BTF; the version is a macro, so it travels as an enum. */
function compile(structs: readonly string[], enums: readonly string[]): Uint8Array {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-abi-'))
  const lines = [
    `#include "${headerPath}"`,
    'enum godwit_abi_version { GODWIT_ABI_VERSION = LISP_ABI_VERSION };',
    'enum godwit_abi_version use_version;',
    ...structs.map((name) => `struct ${name} use_${name};`),
    ...enums.map((name) => `enum ${name} use_${name};`),
  ]
  try {
    const source = join(directory, 'abi.c')
    writeFileSync(source, `${lines.join('\n')}\n`)
    const object = join(directory, 'abi.o')
    const result = spawnSync('gcc', ['-gbtf', '-O0', '-c', '-o', object, source], {
      encoding: 'utf8',
    })
    if (result.status !== 0) {
      throw new Error(`gcc -gbtf failed: ${result.error?.message ?? result.stderr}`)
    }
    return readFileSync(object)
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** Content of the .BTF section of an ELF64 little-endian object. */
function btfSection(elf: Uint8Array): Uint8Array {
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength)
  const tableOffset = Number(view.getBigUint64(0x28, true))
  const entrySize = view.getUint16(0x3a, true)
  const count = view.getUint16(0x3c, true)
  const namesIndex = view.getUint16(0x3e, true)
  const section = (index: number) => {
    const at = tableOffset + index * entrySize
    const offset = Number(view.getBigUint64(at + 0x18, true))
    const size = Number(view.getBigUint64(at + 0x20, true))
    return { name: view.getUint32(at, true), bytes: elf.subarray(offset, offset + size) }
  }
  const names = section(namesIndex).bytes
  for (let index = 0; index < count; index += 1) {
    const candidate = section(index)
    if (cString(names, candidate.name) === '.BTF') return candidate.bytes
  }
  throw new Error('no .BTF section: this gcc knows no -gbtf (gcc 12 does)')
}

function cString(bytes: Uint8Array, offset: number): string {
  return new TextDecoder().decode(bytes.subarray(offset, bytes.indexOf(0, offset)))
}

// ------------------------------------------------------------------------------------- enums

function enumText(type: BtfType): string {
  const prefix = enumeratorPrefix(type)
  const rows = type.values
    .filter(({ name }) => !name.endsWith('_COUNT'))
    .map(({ name, value }) => `  '${kebab(name.slice(prefix.length))}': ${value},`)
  const constant = type.name.toUpperCase().replace(/^LISP_/, '')
  const typeName = pascal(type.name)
  return [
    `/** enum ${type.name} */`,
    `export const ${constant} = {`,
    ...rows,
    '} as const',
    `export type ${typeName}Name = keyof typeof ${constant}`,
    '',
  ].join('\n')
}

/** The longest leading part of the enum's own name that all its enumerators carry. */
function enumeratorPrefix(type: BtfType): string {
  const words = type.name.toUpperCase().split('_')
  for (let length = words.length; length > 0; length -= 1) {
    const prefix = `${words.slice(0, length).join('_')}_`
    if (type.values.every(({ name }) => name.startsWith(prefix))) return prefix
  }
  throw new Error(`the enumerators of ${type.name} share no prefix with it`)
}

// ----------------------------------------------------------------------------------- structs

interface Field {
  readonly property: string
  readonly typeText: string
  readonly read: string
  readonly write: string
}

function structText(type: BtfType, types: readonly (BtfType | undefined)[]): string {
  const typeName = pascal(type.name)
  const fields = type.members
    .filter(({ name }) => !/^reserved\d*$/.test(name))
    .map((member) => fieldOf(member, types))
  const constant = type.name.toUpperCase().replace(/^LISP_/, '')
  const offsets = type.members.map(({ name, offset }) => `${camel(plainName(name))}: ${offset}`)
  return [
    `/** struct ${type.name}, ${type.size} bytes */`,
    `export interface ${typeName} {`,
    ...fields.map(({ property, typeText }) => `  readonly ${property}: ${typeText}`),
    '}',
    `export const ${constant}_BYTES = ${type.size}`,
    `export const ${constant}_OFFSETS = { ${offsets.join(', ')} } as const`,
    `export function write${typeName}(view: DataView, at: number, value: ${typeName}): void {`,
    ...fields.map(({ write }) => `  ${write}`),
    '}',
    `export function encode${typeName}(value: ${typeName}): Uint8Array {`,
    `  const bytes = new Uint8Array(${type.size})`,
    `  write${typeName}(viewOf(bytes), 0, value)`,
    '  return bytes',
    '}',
    `export function decode${typeName}(bytes: Uint8Array, at = 0): ${typeName} {`,
    '  const view = viewOf(bytes)',
    '  return {',
    ...fields.map(({ property, read }) => `    ${property}: ${read},`),
    '  }',
    '}',
    '',
  ].join('\n')
}

function fieldOf(member: BtfMember, types: readonly (BtfType | undefined)[]): Field {
  const { type, bigEndian } = resolve(member.type, types)
  const property = camel(plainName(member.name))
  const at = `at + ${member.offset}`
  const big = bigEndian || member.name.endsWith('_be')
  if (type.kind === 'integer') {
    const order = type.size === 1 ? '' : `, ${!big}`
    const method = type.size === 8 ? 'BigUint64' : `Uint${type.size * 8}`
    return {
      property,
      typeText: type.size === 8 ? 'bigint' : 'number',
      read: `view.get${method}(${at}${order})`,
      write: `view.set${method}(${at}, value.${property}${order})`,
    }
  }
  if (type.kind === 'struct') {
    return {
      property,
      typeText: pascal(type.name),
      read: `decode${pascal(type.name)}(bytes, ${at})`,
      write: `write${pascal(type.name)}(view, ${at}, value.${property})`,
    }
  }
  if (type.kind !== 'array') throw new Error(`${member.name}: ${type.kind} is not supported`)
  const element = resolve(type.elementType, types).type
  if (element.kind === 'integer' && element.size === 1) {
    return {
      property,
      typeText: 'Uint8Array',
      read: `copyOf(bytes, ${at}, ${type.count})`,
      write: `writeBytes(view, ${at}, value.${property}, ${type.count})`,
    }
  }
  if (element.kind === 'integer' && element.size === 4) {
    const limits = `${at}, 4, ${type.count}`
    return {
      property,
      typeText: 'readonly number[]',
      read: `readArray(bytes, ${limits}, readWord)`,
      write: `writeArray(view, ${limits}, value.${property}, writeWord)`,
    }
  }
  if (element.kind !== 'struct') throw new Error(`${member.name}: array of ${element.kind}`)
  const name = pascal(element.name)
  const limits = `${at}, ${element.size}, ${type.count}`
  return {
    property,
    typeText: `readonly ${name}[]`,
    read: `readArray(bytes, ${limits}, decode${name})`,
    write: `writeArray(view, ${limits}, value.${property}, write${name})`,
  }
}

/** Typedefs and qualifiers taken off; a typedef named __beNN says that the bytes are big-endian. */
function resolve(
  index: number,
  types: readonly (BtfType | undefined)[],
): { type: BtfType; bigEndian: boolean } {
  let type = types[index]
  let bigEndian = false
  while (type?.kind === 'alias') {
    bigEndian ||= /^__be\d+$/.test(type.name)
    type = types[type.elementType]
  }
  if (type === undefined) throw new Error(`BTF type ${index} is not supported`)
  return { type, bigEndian }
}

// ------------------------------------------------------------------------------------- names

function plainName(name: string): string {
  return name.replace(/_be$/, '')
}

function kebab(name: string): string {
  return name.toLowerCase().replaceAll('_', '-')
}

function camel(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
}

function pascal(name: string): string {
  const text = camel(name.replace(/^lisp_/, ''))
  return `Bpf${text.charAt(0).toUpperCase()}${text.slice(1)}`
}

function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory)
  return directory
}

const PROLOGUE = `/**
 * Layouts and numbers shared with the BPF programs. Generated from native/bpf/lisp_abi.h by
 * scripts/generate-abi.ts: do not edit. Host order is little-endian.
 */
`

const EPILOGUE = `function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** A copy also when \`bytes\` is a Buffer, whose own slice would be a view of memory that is reused. */
function copyOf(bytes: Uint8Array, at: number, count: number): Uint8Array {
  return new Uint8Array(bytes.subarray(at, at + count))
}

/** Shorter values are padded with zeros (the element was zero before); longer ones are an error. */
function writeBytes(view: DataView, at: number, value: Uint8Array, count: number): void {
  if (value.length > count) throw new RangeError(\`\${value.length} bytes do not fit in \${count}\`)
  new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(value, at)
}

function writeArray<Value>(
  view: DataView,
  at: number,
  size: number,
  count: number,
  values: readonly Value[],
  write: (view: DataView, at: number, value: Value) => void,
): void {
  if (values.length > count) throw new RangeError(\`\${values.length} elements do not fit in \${count}\`)
  values.forEach((value, index) => write(view, at + index * size, value))
}

function readArray<Value>(
  bytes: Uint8Array,
  at: number,
  size: number,
  count: number,
  read: (bytes: Uint8Array, at: number) => Value,
): Value[] {
  return Array.from({ length: count }, (_, index) => read(bytes, at + index * size))
}

function readWord(bytes: Uint8Array, at: number): number {
  return viewOf(bytes).getUint32(at, true)
}

function writeWord(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, true)
}
`

main()
