"""The bare command: two commands of Typer's that do nothing. What any help costs."""

import typer

app = typer.Typer()


@app.command()
def one() -> None:
    """Do one thing."""


@app.command()
def other() -> None:
    """Do another."""


if __name__ == "__main__":
    app()
