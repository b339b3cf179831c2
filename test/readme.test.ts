import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'

// Every block of code in README.md and docs/*.md is compiled, against the sources. In front of a block may stand
//   <!-- continues -->                      it goes on from the block above, in one module with it
//   <!-- given: declare const app: App -->  what the page takes for granted, in front of the block
const LANGUAGES = ['ts', 'typescript', 'js', 'javascript', 'mjs', 'mts']
const SHELLS = ['sh', 'bash', 'shell', 'console']

interface Block {
  readonly page: string
  readonly language: string
  /** The line of the page on which its code begins. */
  readonly line: number
  readonly code: string
  readonly continues: boolean
  readonly given: string
}

const pages = ['README.md', ...filesIn('docs', '.md')].filter((page) => existsSync(page))
const blocks = pages.flatMap((page) => blocksOf(page, readFileSync(page, 'utf8')))
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as {
  name: string
  scripts: Record<string, string>
  devDependencies: Record<string, string>
  bin?: Record<string, string>
}

// Until there is one, there is nothing to check; CI does not let that pass.
describe.skipIf(!process.env.CI && pages.length === 0)('the README', () => {
  test('has code that is compiled', () => {
    const code = blocks.filter(({ page, language }) => page === 'README.md' && LANGUAGES.includes(language))
    expect(code.length).toBeGreaterThan(0)
  })
})

test('every block of code in the pages compiles against the sources', { timeout: 120_000 }, () => {
  expect(compile(modulesOf(blocks.filter(({ language }) => LANGUAGES.includes(language))))).toEqual([])
})

test('every command in the pages names a script, a program or a file that exists', () => {
  const shell = blocks.filter(({ language }) => SHELLS.includes(language))
  const wrong = shell.flatMap(({ page, line, code }) =>
    code.split('\n').flatMap((text, index) =>
      commandsIn(text)
        .flatMap(unknownIn)
        .map((what) => `${page}:${line + index}: ${what}`),
    ),
  )
  expect(wrong).toEqual([])
})

test('every link in the pages to a file of the project leads to one', () => {
  const wrong = pages.flatMap((page) =>
    [...readFileSync(page, 'utf8').matchAll(/\]\((?!\w+:|#)([^)#\s]+)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !existsSync(normalize(join(dirname(page), target))))
      .map((target) => `${page}: ${target}`),
  )
  expect(wrong).toEqual([])
})

test('no example is longer than 60 lines', () => {
  const lengths = filesIn('examples', '.ts').map((path) => ({
    path,
    lines: readFileSync(path, 'utf8').trimEnd().split('\n').length,
  }))
  expect(lengths.filter(({ lines }) => lines > 60)).toEqual([])
})

function filesIn(folder: string, end: string): string[] {
  if (!existsSync(folder)) return []
  const names = readdirSync(folder).filter((name) => name.endsWith(end))
  return names.sort().map((name) => join(folder, name))
}

function blocksOf(page: string, text: string): Block[] {
  const fence = /((?:<!--(?:(?!-->)[\s\S])*-->\s*)*)^( *)```(\w+)[^\n]*\n([\s\S]*?)^ *```$/gm
  return [...text.matchAll(fence)].map((match) => {
    const [all, comments = '', , language = '', code = ''] = match
    const start = match.index + all.indexOf('\n', comments.length) + 1
    return {
      page,
      language,
      line: text.slice(0, start).split('\n').length,
      code,
      continues: /<!--\s*continues\s*-->/.test(comments),
      given: [...comments.matchAll(/<!--\s*given:([\s\S]*?)-->/g)].map(([, given]) => given).join('\n'),
    }
  })
}

/** One module for each block and for those which continue it. Empty lines in front give the code the line numbers of its page. */
function modulesOf(list: readonly Block[]): Map<string, string> {
  const modules = new Map<string, string>()
  let name = ''
  for (const { page, language, line, code, continues, given } of list) {
    const before = continues && name.startsWith(join(process.cwd(), page)) ? modules.get(name) : undefined
    if (before === undefined) name = join(process.cwd(), `${page}.${line}.${language.includes('j') ? 'js' : 'ts'}`)
    const text = before ?? given.replaceAll('\n', ' ')
    modules.set(name, text + '\n'.repeat(Math.max(line - text.split('\n').length, 1)) + code)
  }
  return modules
}

/** What the compiler says against the modules, which stand in memory as if they lay at the root. */
function compile(modules: Map<string, string>): string[] {
  const config = ts.parseJsonConfigFileContent(
    ts.readConfigFile('tsconfig.json', ts.sys.readFile).config,
    ts.sys,
    process.cwd(),
  )
  const options: ts.CompilerOptions = {
    ...config.options,
    allowJs: true,
    checkJs: true,
    moduleDetection: ts.ModuleDetectionKind.Force,
    noUnusedLocals: false,
    noUnusedParameters: false,
  }
  const host = ts.createCompilerHost(options)
  const { fileExists, readFile } = host
  host.fileExists = (path) => modules.has(path) || fileExists(path)
  host.readFile = (path) => modules.get(path) ?? readFile(path)
  const program = ts.createProgram([...modules.keys()], options, host)
  return [...modules.keys()].flatMap((path) => {
    const file = program.getSourceFile(path)
    return ts.getPreEmitDiagnostics(program, file).map(({ start = 0, messageText }) => {
      const line = (file?.getLineAndCharacterOfPosition(start).line ?? 0) + 1
      return `${path.slice(process.cwd().length + 1).replace(/\.\d+\.[tj]s$/, '')}:${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
    })
  })
}

/** The commands of one line of a shell, without a prompt and without a comment. */
function commandsIn(line: string): string[] {
  const bare = line.replace(/^\s*[$#] /, '').replace(/(^|\s)#.*$/, '')
  return bare
    .split(/&&|\|\||;|\|/)
    .map((command) => command.trim())
    .filter(Boolean)
}

/** What a command names that the project does not have. */
function unknownIn(command: string): string[] {
  const [program = '', verb = '', ...rest] = command
    .split(/\s+/)
    .filter((word) => !/^\w+=/.test(word) && !word.startsWith('-'))
  const { name, scripts, devDependencies, bin = {} } = manifest
  if (program === 'npm') {
    const script = verb === 'run' ? rest[0] : verb === 'test' || verb === 'start' ? verb : undefined
    if (script !== undefined && !scripts[script]) return [`there is no script ${script}`]
    if (verb === 'install' || verb === 'i') {
      const known = [name, ...Object.keys(devDependencies)]
      return rest.filter((each) => !known.includes(each)).map((each) => `nothing here uses ${each}`)
    }
  }
  if (program === 'npx' && !['tsx'].includes(verb) && !bin[verb]) return [`there is no program ${verb}`]
  const file = program === 'node' || program === 'tsx' ? verb : program === 'npx' ? rest[0] : undefined
  return file && /^[\w./-]+\.[cm]?[jt]s$/.test(file) && !existsSync(file) ? [`there is no file ${file}`] : []
}
