/** What of the public API has no comment. */
import { type ProjectReflection, type Reflection, ReflectionKind } from 'typedoc';

/** These need a comment wherever they are: types, functions, and what a class or an interface does. */
const always = ReflectionKind.Class | ReflectionKind.Interface | ReflectionKind.TypeAlias | ReflectionKind.Variable;
const calls = ReflectionKind.CallSignature | ReflectionKind.GetSignature;

/** Properties need one where they are what a caller chooses. Plain data is told of by the comment of its type. */
const choices = /(Options|Parameters)$/;

/**
 * Every public item that lacks a comment, as `module.Class.member (file:line)`. What is inherited is looked at where it is declared,
 * and `[Symbol.asyncDispose]` is the same everywhere.
 */
export function undocumented(project: ProjectReflection): string[] {
  const found = new Map<string, string>();
  for (const reflection of Object.values(project.reflections)) {
    if (!needsComment(reflection) || reflection.hasComment()) continue;
    const owner = reflection.isSignature() ? reflection.parent : reflection;
    const source = project.files.getReflectionPath(owner) ?? owner.parent?.getFullName() ?? '';
    // One declaration that several modules export is one item.
    const name = owner.getFullName().replace(/^[^.]*\./, '');
    found.set(`${source} ${name}`, owner.getFullName());
  }
  return [...new Set(found.values())].sort();
}

function needsComment(reflection: Reflection): boolean {
  if (reflection.kindOf(calls)) {
    return reflection.isSignature() && isNamed(reflection.parent) && isOwn(reflection.parent);
  }
  if (reflection.kindOf(ReflectionKind.Property)) {
    return choices.test(reflection.parent?.name ?? '') && isOwn(reflection);
  }
  return reflection.kindOf(always) && isExported(reflection);
}

/** A function or a member; not the type of a callback. */
function isNamed(reflection: Reflection): boolean {
  return (
    !reflection.kindOf(ReflectionKind.TypeLiteral | ReflectionKind.Interface) && reflection.name !== '[asyncDispose]'
  );
}

function isOwn(reflection: Reflection): boolean {
  if (reflection.isDeclaration() && (reflection.inheritedFrom ?? reflection.overwrites) !== undefined) return false;
  const owner = reflection.parent;
  return owner !== undefined && (owner.kindOf(ReflectionKind.SomeModule) || isExported(owner));
}

function isExported(reflection: Reflection): boolean {
  return reflection.parent?.kindOf(ReflectionKind.SomeModule) ?? false;
}
