export function messagesText(): string;
